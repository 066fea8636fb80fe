"""Starts vLLM's engines: their arguments, and what they raise. Runs in a child process."""

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch._dynamo
from vllm.config.lora import MaxLoRARanks
from vllm.engine.arg_utils import EngineArgs
from vllm.lora.peft_helper import PEFTHelper
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.llm_engine import LLMEngine

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError, MusterError
from workers.backends.vllm.backend import VllmOptions
from workers.backends.vllm.engine import one_line
from workers.checkpoints.formats import is_lasting, load_error, require_adapter

if TYPE_CHECKING:
    from vllm.config import ModelConfig, VllmConfig

logger = logging.getLogger(__name__)

GIB = 1 << 30
CPU_CACHE_GIB = 1.0
LORA_RANKS: tuple[int, ...] = MaxLoRARanks.__args__


def engine_args(
    spec: EngineSpec, options: VllmOptions, adapters: Sequence[str], *, on_cpu: bool
) -> EngineArgs:
    """Arguments for vLLM; max_model_len is lowered to what the model can do.

    Args:
        adapters: LoRA directories that will be used.
        on_cpu: the cache has a size of its own there, and nothing is compiled, unless the options say so.

    Raises:
        EngineLoadError: a model or an adapter that cannot be read.
    """
    cache_gib = options.kv_cache_gib or (CPU_CACHE_GIB if on_cpu else None)
    arguments = EngineArgs(
        model=spec.model,
        revision=spec.revision,
        tokenizer_revision=spec.revision,
        dtype=spec.dtype,
        load_format="safetensors",
        trust_remote_code=False,
        quantization=options.quantization,
        tensor_parallel_size=spec.tensor_parallel_size,
        gpu_memory_utilization=options.gpu_memory_utilization,
        kv_cache_memory_bytes=None if cache_gib is None else round(cache_gib * GIB),
        max_num_seqs=options.max_num_seqs,
        max_num_batched_tokens=options.max_num_batched_tokens,
        enforce_eager=on_cpu if options.enforce_eager is None else options.enforce_eager,
        enable_prefix_caching=options.enable_prefix_caching,
        enable_sleep_mode=options.sleep_mode,
        scheduling_policy="priority",
        disable_log_stats=True,
        structured_outputs_config={
            "backend": options.structured_output_backend,
            # Weak models would write blanks for ever.
            "disable_any_whitespace": options.structured_output_backend != "auto",
        },
        **lora_args(options, adapters),
    )
    try:
        model: ModelConfig = arguments.create_model_config()
    except Exception as error:  # a broken checkpoint raises anything
        raise load_error(spec, "the configuration", error) from error
    arguments.max_model_len = min(spec.max_model_len, model.max_model_len)
    return arguments


def lora_args(options: VllmOptions, adapters: Sequence[str]) -> dict[str, Any]:
    """Room for the pool's adapters, and as configured for those that come later."""
    if not adapters and not options.enable_lora:
        return {}
    for adapter in adapters:
        require_adapter(adapter)
    rank = options.max_lora_rank or max(map(adapter_rank, adapters), default=LORA_RANKS[2])
    max_loras = options.max_loras or max(1, len(adapters))
    return {
        "enable_lora": True,
        "max_loras": max_loras,
        "max_cpu_loras": max(max_loras, len(adapters)),
        "max_lora_rank": next((known for known in LORA_RANKS if known >= rank), LORA_RANKS[-1]),
    }


def adapter_rank(folder: str) -> int:
    """The largest rank of a LoRA directory in peft's format.

    Raises:
        EngineLoadError: its configuration cannot be read.
    """
    require_adapter(folder)
    try:
        config = PEFTHelper.from_local_dir(folder, max_position_embeddings=None)
    except Exception as error:  # whatever is wrong with the file
        raise EngineLoadError(
            f"adapter '{folder}' cannot be read: {one_line(error)}.",
            param="adapter",
            remedy="Give a directory with adapter_config.json and adapter_model.safetensors.",
            is_lasting=True,
        ) from error
    ranks: list[int] = [config.r, *config.rank_pattern.values()]
    return max(ranks)


def start_engine(
    spec: EngineSpec, arguments: EngineArgs, *, adjust: "Callable[[VllmConfig], None] | None" = None
) -> LLMEngine:
    """vLLM's engine, its core in this process.

    Args:
        adjust: changes vLLM's configuration before the weights are read.

    Raises:
        EngineLoadError: a model that vLLM cannot run, or too little memory.
    """
    # Without compilation of the model, vLLM still compiles small functions at their first use,
    # which takes longer than they ever save in a short life.
    torch._dynamo.config.disable = arguments.enforce_eager
    if spec.tensor_parallel_size > 1:
        # A forked worker would inherit a CUDA context, or locks of other threads.
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    try:
        config = arguments.create_engine_config(UsageContext.ENGINE_CONTEXT)
        if adjust is not None:
            adjust(config)
        return LLMEngine.from_vllm_config(config, disable_log_stats=arguments.disable_log_stats)
    except MusterError:
        raise
    except torch.OutOfMemoryError as error:
        raise EngineLoadError(
            f"engine '{spec.id}' does not fit into the device's memory.",
            param="model",
            remedy="Lower max_model_len or kv_cache_gib, quantise, or raise tensor_parallel_size.",
        ) from error
    except Exception as error:  # a model that vLLM cannot run raises anything
        logger.warning("engine %s: vLLM could not load it", spec.id, exc_info=True)
        raise EngineLoadError(
            f"engine '{spec.id}': vLLM cannot load '{spec.model}': {one_line(error)}.",
            param="model",
            remedy="Check dtype, quantization, parallelism and sizes against this reason.",
            is_lasting=is_lasting(error),
        ) from error
