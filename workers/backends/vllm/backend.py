"""The vLLM backend: engines in child processes, whose interpreter belongs to an environment of its own.

`scripts/setup-vllm.sh` makes that environment; vLLM pins versions that the API must not share.
"""

import atexit
import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import Field

import orchestrator
from orchestrator.domain.assignments import INTERACTIVE
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from workers.backends.options import Options
from workers.backends.registry import own_options
from workers.engine_host.backend import HostedBackend

PYTHON_VARIABLE = "MUSTER_VLLM_PYTHON"
ENVIRONMENT = Path(".venv-vllm/bin/python")
CHILD_ENV = {
    # The engine lives in the child itself; a process of its own inside it would only be slower.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class VllmResources(Options):
    """Options of every engine in vLLM. None leaves the choice to vLLM, unless said otherwise.

    Args:
        python: interpreter that has vLLM; None = MUSTER_VLLM_PYTHON, or `.venv-vllm` in the working
            directory or in the checkout, or this process's own.
        threads: CPU threads; engines with equal numbers share warm children.
        max_num_batched_tokens: most tokens of one step.
        gpu_memory_utilization: share of the GPU's memory for weights and cache.
        kv_cache_gib: size of the KV cache; None = what is left on a GPU, 1 GiB on the CPU.
        enforce_eager: no compilation and no CUDA graphs; None = only on the CPU, where they cost minutes.
        enable_prefix_caching: prompts that begin alike share their cache.
        quantization: as vLLM names it; None = as the checkpoint says.
        max_lora_rank: largest rank; None = that of the pool's adapters.
    """

    python: str | None = Field(default=None, min_length=1)
    threads: int | None = Field(default=None, ge=1)
    max_num_batched_tokens: int | None = Field(default=None, ge=16)
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    kv_cache_gib: float | None = Field(default=None, gt=0)
    enforce_eager: bool | None = None
    enable_prefix_caching: bool = True
    quantization: str | None = None
    max_lora_rank: int | None = Field(default=None, ge=1, le=512)


class VllmOptions(VllmResources):
    """`options` of an engine with backend `vllm`, beside its resources.

    Args:
        max_num_seqs: most requests decoded together; None = vLLM's choice.
        enable_lora: leave room for adapters even if the pool names none.
        max_loras: most adapters in one batch; None = all of the pool.
        sleep_mode: weights can be moved out of the GPU's memory and back (CUDA only).
        structured_output_backend: `auto`, or a named one, which then writes JSON without blanks.
        stream_from_priority: requests of at least this priority report their text as it grows.
    """

    max_num_seqs: int | None = Field(default=None, ge=1, le=65_536)
    enable_lora: bool = False
    max_loras: int | None = Field(default=None, ge=1)
    sleep_mode: bool = False
    structured_output_backend: Literal["auto", "xgrammar", "guidance"] = "auto"
    stream_from_priority: int = INTERACTIVE


@cache
def vllm_backend() -> HostedBackend:
    """The one of this process: whoever loads vLLM engines here shares its warm children."""
    backend = make_vllm_backend()
    atexit.register(backend.close)
    return backend


def make_vllm_backend(*, n_spares: int = 1) -> HostedBackend:
    """A backend with children of its own; nothing is started before the first load."""
    return HostedBackend("vllm", python=find_python, env=child_env, n_spares=n_spares)


def child_env(spec: EngineSpec) -> Mapping[str, str]:
    """Variables of the engine's process that must be set before its imports.

    Raises:
        EngineLoadError: options that cannot be used; or it needs more GPUs than its worker sees.
    """
    threads = _resources(spec).threads
    _require_devices(spec, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return CHILD_ENV if threads is None else {**CHILD_ENV, "OMP_NUM_THREADS": str(threads)}


def _require_devices(spec: EngineSpec, visible: str | None) -> None:
    """Refuse an engine over more GPUs than a process may see. Another worker may see enough.

    Args:
        visible: those GPUs, separated by commas; None = all, empty = none: it runs on the CPU.

    Raises:
        EngineLoadError: they are too few.
    """
    seen = [one for one in (visible or "").split(",") if one.strip()]
    if 0 < len(seen) < spec.tensor_parallel_size:
        raise EngineLoadError(
            f"engine '{spec.id}' needs {spec.tensor_parallel_size} GPUs, and its worker sees {len(seen)}.",
            param="tensor_parallel_size",
            remedy="Start its worker with --device cuda: engines then take the first GPUs of "
            "CUDA_VISIBLE_DEVICES, of all where that is not set.",
        )


def _resources(spec: EngineSpec) -> VllmResources:
    """Of an engine of this backend, or of another one whose engines vLLM serves.

    Raises:
        EngineLoadError: options that cannot be used.
    """
    options = own_options(spec)
    if isinstance(options, VllmResources):
        return options
    raise EngineLoadError(
        f"engine '{spec.id}': backend '{spec.backend}' has no options for vLLM.", is_lasting=True
    )


def find_python(spec: EngineSpec) -> str:
    """The interpreter for an engine's process.

    Raises:
        EngineLoadError: none is known to have vLLM; or options that cannot be used.
    """
    named = _resources(spec).python or os.environ.get(PYTHON_VARIABLE)
    if named is not None:
        return named
    checkout = Path(orchestrator.__path__[0]).parent
    for folder in (Path.cwd(), checkout):
        if (folder / ENVIRONMENT).exists():
            return str(folder / ENVIRONMENT)
    installed = find_spec("vllm")
    if installed is not None and installed.origin is not None:  # a mere folder of that name has none
        return sys.executable
    raise EngineLoadError(
        f"engine '{spec.id}': vLLM is not installed.",
        param="options.python",
        remedy=f"Run scripts/setup-vllm.sh, or name an interpreter that has it in {PYTHON_VARIABLE}.",
        is_lasting=True,
    )
