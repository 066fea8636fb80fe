"""Loads vLLM engines. Runs in a child process, where vLLM is installed."""

import gc
import importlib
from collections.abc import Sequence

import vllm.v1.engine.core
from vllm.platforms import current_platform
from vllm.v1.engine.llm_engine import LLMEngine

from orchestrator.domain.experts import FUSION, EngineSpec
from orchestrator.errors import BackendError, EngineLoadError
from orchestrator.ports.engines import Engine
from workers.backends.decoding.texts import Texts, texts_of
from workers.backends.options import read_options
from workers.backends.vllm.backend import VllmOptions
from workers.backends.vllm.cpu_lora import correct_base_rows
from workers.backends.vllm.engine import Serving, VllmEngine
from workers.backends.vllm.fusion_loading import load_fusion
from workers.backends.vllm.starting import engine_args, start_engine
from workers.checkpoints.defects import require_sound
from workers.checkpoints.formats import require_safetensors
from workers.checkpoints.reading import load_sound_tokenizer

# vLLM would import its worker at the first load.
if current_platform.is_cpu():
    importlib.import_module("vllm.v1.worker.cpu_worker")
    correct_base_rows()
else:
    importlib.import_module("vllm.v1.worker.gpu_worker")


def _leave_frozen_as_it_is(*_: object) -> None:
    """vLLM freezes all objects after a load and thaws all when it drops an engine. Here imports are
    frozen once (`memory.freeze_imports`), and engines, which must be collected, never."""


vllm.v1.engine.core.freeze_gc_heap = _leave_frozen_as_it_is
gc.unfreeze = _leave_frozen_as_it_is


class VllmBackend:
    """Implements `ports.Backend`; the inner backend of `vllm`, and of fusions that vLLM serves: they share
    children."""

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        """Load weights, tokenizer and adapters.

        dtype `auto` is vLLM's choice: the checkpoint's half precision, or bfloat16 for float32 weights.

        Raises:
            EngineLoadError: options, weights, tokenizer or adapters that cannot be used, or too little
                memory.
            IncompatibleModelsError: a fusion of models with different vocabularies.
        """
        if spec.backend == FUSION:
            return load_fusion(spec, adapters)
        options = read_options(VllmOptions, spec)
        require_safetensors(spec)
        on_cpu = current_platform.is_cpu()
        if options.sleep_mode and on_cpu:
            raise EngineLoadError(
                f"engine '{spec.id}': sleep_mode needs CUDA.",
                param="options.sleep_mode",
                remedy="Leave it out on the CPU.",
                is_lasting=True,
            )
        weights = require_sound(spec.id, spec.model, adapters, by_vllm=True)
        n_embedded = None if weights is None else weights.n_embedded
        texts = texts_of(spec, load_sound_tokenizer(spec, weights), n_embedded=n_embedded)
        engine = start_engine(spec, engine_args(spec, options, adapters, on_cpu=on_cpu))
        serving = Serving(
            engine_id=spec.id,
            max_model_len=engine.model_config.max_model_len,
            can_sleep=options.sleep_mode,
            stream_from_priority=options.stream_from_priority,
        )
        return _with_adapters(engine, texts, serving, adapters)


def _with_adapters(engine: LLMEngine, texts: Texts, serving: Serving, adapters: Sequence[str]) -> VllmEngine:
    try:
        return VllmEngine(engine, texts, serving, adapters=adapters)
    except BackendError as error:
        engine.engine_core.shutdown()
        raise EngineLoadError(
            error.message,
            param=error.param,
            is_lasting=True,
        ) from error
