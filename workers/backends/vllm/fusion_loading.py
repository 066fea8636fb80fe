"""Loads fusions into vLLM: the large model and what shares its weights as rows, other models beside it.

Runs in a child process.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.v1.core.kv_cache_utils import get_max_concurrency_for_kv_cache_config

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from workers.backends.decoding.fused import Fusing
from workers.backends.fusion import FusionOptions, members_of, require_served
from workers.backends.fusion_layout import (
    LanePlan,
    Members,
    Tokenizers,
    adapters_over,
    arrange,
    compare_vocabularies,
    each_member,
    rule_options,
    tokenizers_of,
    weights_of,
)
from workers.backends.fusion_loading import load_member, number_of, prompters_of, source_of
from workers.backends.options import read_options
from workers.backends.transformers import decoding_options, eos_ids_of
from workers.backends.vllm.backend import VllmOptions, VllmResources
from workers.backends.vllm.engine import one_line
from workers.backends.vllm.fusion_beside import BesideModel
from workers.backends.vllm.fusion_engine import FusionEngine, FusionServing, OfRequest
from workers.backends.vllm.fusion_groups import Fuser, offered
from workers.backends.vllm.starting import engine_args, start_engine
from workers.checkpoints.formats import require_safetensors

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.engine.llm_engine import LLMEngine

STEP_TOKENS = 2048
"""Least tokens of a step by default; more where the rows of one question may need more."""


def load_fusion(spec: EngineSpec, adapters: Sequence[str]) -> FusionEngine:
    """Compare vocabularies, load the models beside vLLM, which are small, then the large one into it.

    Raises:
        EngineLoadError: options, weights, tokenizers or adapters that cannot be used, or too little memory.
        IncompatibleModelsError: vocabularies that differ; no weights have been loaded then.
    """
    options = read_options(FusionOptions, spec)
    members = members_of(spec, options)
    require_served(spec, members)
    for member in each_member(members):
        require_safetensors(member.spec)
    own_options = rule_options(spec, options, members)
    tokenizers = tokenizers_of(members)
    size = compare_vocabularies(spec, tokenizers)
    (own, *others), places = arrange(members, adapters)
    fusing = Fusing(options.rule, own_options, places, vocabulary=size)
    beside = _load_beside(spec, options, members, others, tokenizers, size=size, first=len(own.sequences))
    fuser = Fuser(
        fusing.fuse,
        n_rows=len(own.sequences),
        beside={number: lane.model for number, lane in enumerate(beside, start=1)},
    )
    bank = adapters_over(spec, members, weights_of(spec), adapters)
    engine = _start(spec, options, fuser, bank, n_rows=len(own.sequences))
    try:
        _require_cache(spec, engine, n_rows=len(own.sequences))
        return FusionEngine(
            engine,
            fuser,
            fusing,
            prompters_of([own, *others], tokenizers, spec.reasoning),
            _serving(spec, options, engine, beside, tokenizers, size=size),
            rows=[OfRequest() if key.takes_requests_adapter else key.adapter for key in own.sequences],
            adapters=_add_adapters(engine, bank),
        )
    except EngineLoadError:
        engine.engine_core.shutdown()
        raise


# ── beside vLLM ───────────────────────────────────────────────────────────────────────────────────


class _Lane(NamedTuple):
    """A model beside vLLM, what ends its outputs, and its longest context."""

    model: BesideModel
    eos_ids: frozenset[int]
    max_model_len: int


def _load_beside(
    spec: EngineSpec,
    options: FusionOptions,
    members: Members,
    plans: Sequence[LanePlan],
    tokenizers: Tokenizers,
    *,
    size: int,
    first: int,
) -> list[_Lane]:
    """The lanes that vLLM does not run. Args: first: place of the first one's prompts."""
    device = torch.device("cpu" if current_platform.is_cpu() else "cuda")
    lanes = []
    for plan in plans:
        model = load_member(spec, plan.spec, device, size=size)
        bank = adapters_over(spec, members, plan.weights, ())
        decoding = decoding_options(spec, options, model, tokenizers[plan.weights], threads=1)
        numbers = [number_of(key, bank) for key in plan.sequences]
        source = source_of(spec, model, bank)
        lane = BesideModel(source, numbers, first=first, pad_id=decoding.pad_id)
        lanes.append(_Lane(lane, decoding.eos_ids, decoding.max_model_len))
        first += len(numbers)
    return lanes


# ── in vLLM ───────────────────────────────────────────────────────────────────────────────────────


def _start(
    spec: EngineSpec, options: FusionOptions, fuser: Fuser, bank: Sequence[str], *, n_rows: int
) -> "LLMEngine":
    """vLLM's engine with the shell of its model runner; prompts are read whole, and step by step.

    The older runner's interface does not say how much of a prompt has been read.
    """
    resources = {name: getattr(options, name) for name in VllmResources.model_fields}
    if not current_platform.is_cpu():
        resources["gpu_memory_utilization"] = share_of_free(options.gpu_memory_utilization)
    most_rows = n_rows * options.max_batch
    step_tokens = options.max_num_batched_tokens or max(STEP_TOKENS, most_rows, n_rows * spec.max_model_len)
    own = VllmOptions(**{**resources, "max_num_batched_tokens": step_tokens, "max_num_seqs": most_rows})
    arguments = engine_args(spec, own, bank, on_cpu=current_platform.is_cpu())
    arguments.enable_chunked_prefill = False
    arguments.async_scheduling = False
    with offered(fuser):
        return start_engine(spec, arguments, adjust=_set_shell)


def share_of_free(asked: float) -> float:
    """The same share of what the models beside vLLM left free, as a share of the whole: vLLM refuses to start
    where less is free than it is to use.

    Args:
        asked: in (0, 1].
    """
    free, total = torch.cuda.mem_get_info()
    return asked * free / total


def _set_shell(config: "VllmConfig") -> None:
    if config.use_v2_model_runner:
        from workers.backends.vllm.fusion_v2 import FusionProcessor
    else:
        from workers.backends.vllm.fusion_v1 import FusionProcessor  # type: ignore[assignment]
    scheduler = config.scheduler_config
    if scheduler.enable_chunked_prefill or scheduler.async_scheduling or config.speculative_config:
        raise EngineLoadError(
            "vLLM insists on a schedule under which logits cannot be fused.", is_lasting=True
        )
    config.model_config.logits_processors = [FusionProcessor]


def _require_cache(spec: EngineSpec, engine: "LLMEngine", *, n_rows: int) -> None:
    """Refuse a cache into which one question's rows do not fit at full length."""
    cache = engine.engine_core.engine_core.scheduler.kv_cache_config
    n_fitting = get_max_concurrency_for_kv_cache_config(engine.vllm_config, cache)
    if n_fitting < n_rows:
        raise EngineLoadError(
            f"engine '{spec.id}': its cache holds {n_fitting:.1f} sequences of full length; a question has "
            f"{n_rows} rows.",
            param="options.kv_cache_gib",
            remedy="Raise options.kv_cache_gib or lower max_model_len.",
            is_lasting=True,
        )


def _add_adapters(engine: "LLMEngine", bank: Sequence[str]) -> dict[str, LoRARequest]:
    found = {}
    for number, folder in enumerate(bank, start=1):
        found[folder] = LoRARequest(folder, number, folder)
        try:
            engine.add_lora(found[folder])
        except Exception as error:  # a broken adapter raises anything
            raise EngineLoadError(
                f"adapter '{folder}' cannot be used: {one_line(error)}.",
                param="adapter",
                remedy="Give a directory with adapter_config.json and adapter_model.safetensors of a plain "
                "LoRA over this base model, of a rank within options.max_lora_rank.",
                is_lasting=True,
            ) from error
    return found


def _serving(
    spec: EngineSpec,
    options: FusionOptions,
    engine: "LLMEngine",
    beside: Sequence[_Lane],
    tokenizers: Tokenizers,
    *,
    size: int,
) -> FusionServing:
    """The tightest context of all models, and the ends of any."""
    model = engine.model_config
    generation: Mapping[str, Any] = model.try_get_generation_config()
    eos_ids = eos_ids_of(generation.get("eos_token_id")) | eos_ids_of(
        tokenizers[weights_of(spec)].eos_token_id
    )
    return FusionServing(
        engine_id=spec.id,
        max_model_len=min([model.max_model_len, *(lane.max_model_len for lane in beside)]),
        max_groups=options.max_batch,
        step_tokens=engine.vllm_config.scheduler_config.max_num_batched_tokens,
        eos_ids=frozenset(
            token for ids in (eos_ids, *(lane.eos_ids for lane in beside)) for token in ids if token < size
        ),
        stream_from_priority=options.stream_from_priority,
    )
