"""From settings to the pool: members become experts, equal base weights become one engine."""

from collections.abc import Callable
from pathlib import Path

from orchestrator.domain.experts import EngineSpec, Expert, ExpertRole, Pool
from orchestrator.errors import ConfigError
from orchestrator.settings import Member, Settings

WeightsHash = Callable[[str, str | None], str]
"""(model, adapter) to a content identity of the weights; a model that cannot be read gives ""."""


def build_pool(settings: Settings, *, weights_hash: WeightsHash) -> Pool:
    """Experts in file order. A member with `adapter: lora` shares the engine of its `base_model`.

    Raises:
        ConfigError: a LoRA member without base model, or a pool in which nobody answers.
    """
    engines: dict[str, EngineSpec] = {}
    experts = tuple(
        _expert(member, settings, engines=engines, weights_hash=weights_hash)
        for member in settings.model_list
    )
    pool = Pool(experts=experts)
    if not pool.answerers:
        raise ConfigError(
            "no member of the pool may answer.",
            file=settings.source,
            remedy="Give at least one member the role 'expert'.",
        )
    return pool


def _expert(
    member: Member, settings: Settings, *, engines: dict[str, EngineSpec], weights_hash: WeightsHash
) -> Expert:
    info, params = member.model_info, member.litellm_params
    is_lora = info.muster.adapter == "lora"
    if is_lora and not info.base_model:
        raise ConfigError(
            f"'{member.model_name}' is a LoRA adapter without base_model.",
            file=settings.source,
            remedy="Name the base weights in model_info.base_model.",
        )
    model = _locate(params.model, settings.base_dir)
    base = _locate(info.base_model, settings.base_dir) if is_lora and info.base_model else model
    spec = _shared_engine(_engine_spec(member, base), engines)
    adapter = model if is_lora else None
    return Expert(
        id=member.model_name,
        engine=spec,
        adapter=adapter,
        roles=frozenset(ExpertRole(role) for role in info.muster.roles),
        prompt=info.muster.prompt,
        synthesize_prompt=info.muster.synthesize_prompt,
        system_prompt=info.muster.system_prompt,
        max_tokens=params.max_tokens or info.max_output_tokens or Expert.model_fields["max_tokens"].default,
        temperature=params.temperature or 0.0,
        input_cost_per_token=info.input_cost_per_token,
        output_cost_per_token=info.output_cost_per_token,
        params_b=info.params_b,
        weights_hash=weights_hash(base, adapter),
    )


def _engine_spec(member: Member, base: str) -> EngineSpec:
    options = member.model_info.muster
    return EngineSpec(
        id=Path(base).name or base,
        backend=options.engine,
        model=base,
        revision=options.revision,
        dtype=options.dtype,
        max_model_len=options.max_model_len,
        tensor_parallel_size=options.tensor_parallel_size,
        memory_gib=options.gpu_memory_gib,
        chat_template=options.chat_template,
        options=options.options,
    )


def _shared_engine(spec: EngineSpec, engines: dict[str, EngineSpec]) -> EngineSpec:
    """The engine with these weights and options that is there already, or this one under a free id."""
    for known in engines.values():
        if known.model_copy(update={"id": spec.id}) == spec:
            return known
    name, number = spec.id, 2
    while name in engines:
        name, number = f"{spec.id}-{number}", number + 1
    engines[name] = spec.model_copy(update={"id": name})
    return engines[name]


def _locate(model: str, base_dir: Path) -> str:
    """An existing directory relative to the file, made absolute; otherwise the hub id as written."""
    here = base_dir / model
    return str(here.resolve()) if here.exists() else model
