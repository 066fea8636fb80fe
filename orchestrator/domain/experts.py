"""Experts, who answer, and the engines that hold their base weights."""

from enum import StrEnum
from functools import cached_property

from pydantic import Field, JsonValue

from orchestrator.domain.values import Value, content_hash


class ExpertRole(StrEnum):
    """Kind of work that an expert may be asked to do."""

    EXPERT = "expert"
    AGGREGATOR = "aggregator"
    ANNOTATOR = "annotator"


FUSION = "fusion"
"""Backend of engines whose members' logits are fused."""

LONGEST_CONTEXT = 10_000_000
"""Tokens."""


class EngineSpec(Value):
    """Base weights and how to load them; experts with equal specs share one engine.

    Args:
        id: unique in the pool, readable (`reverse`, `qwen2.5-7b`).
        backend: row of the backend table (`transformers`, `scripted`, ...).
        model: directory or hub id of the base weights.
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        max_model_len: longest prompt plus output, tokens; `LONGEST_CONTEXT` = only its server knows.
        memory_gib: device memory the resident engine takes; None = unknown.
        options: what only this backend understands, validated by it.
        members: where further weights lie that the options name, by their names there.
    """

    id: str
    backend: str
    model: str
    revision: str | None = None
    dtype: str = "auto"
    max_model_len: int = Field(default=4096, ge=16, le=LONGEST_CONTEXT)
    tensor_parallel_size: int = Field(default=1, ge=1, le=64)
    memory_gib: float | None = Field(default=None, gt=0)
    chat_template: str | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict)
    members: dict[str, str] = Field(default_factory=dict)


class Expert(Value):
    """One LLM of the pool, as the router sees it.

    `adapter` is a LoRA directory applied over the engine's base weights. `fingerprint` identifies
    the weights and serving options: outcomes measured for one fingerprint never count for another.
    Costs are USD per token.
    """

    id: str = Field(min_length=1, max_length=256)
    engine: EngineSpec
    adapter: str | None = None
    roles: frozenset[ExpertRole] = frozenset({ExpertRole.EXPERT})
    prompt: str = "instruct"
    synthesize_prompt: str = "full"
    system_prompt: str | None = None
    max_tokens: int = Field(default=512, ge=1, le=1_000_000)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    input_cost_per_token: float = Field(default=0.0, ge=0.0)
    output_cost_per_token: float = Field(default=0.0, ge=0.0)
    params_b: float | None = Field(default=None, gt=0)
    weights_hash: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """The same wherever the weights lie; only weights without an identity count by their place."""
        weights = self.weights_hash or [self.engine.model, self.adapter, *self.engine.members.values()]
        return content_hash(
            [
                self.id,
                weights,
                _serving(self.engine),
                self.prompt,
                self.system_prompt,
                self.max_tokens,
                self.temperature,
            ]
        )


def _serving(engine: EngineSpec) -> dict[str, JsonValue]:
    """Options of an engine that decide what it writes. Names of further weights count by their order only:
    what they are is in the identity of the weights."""
    fields = engine.model_dump(exclude={"id", "model", "memory_gib", "tensor_parallel_size", "members"})
    numbers = {name: number for number, name in enumerate(engine.members)}
    return {**fields, "options": _numbered(engine.options, numbers)} if numbers else fields


def _numbered(value: JsonValue, numbers: dict[str, int]) -> JsonValue:
    if isinstance(value, dict):
        return {key: _numbered(inner, numbers) for key, inner in value.items()}
    if isinstance(value, list):
        return [_numbered(inner, numbers) for inner in value]
    return numbers.get(value, value) if isinstance(value, str) else value


class Pool(Value):
    """The experts of one configuration, in the order of its file."""

    experts: tuple[Expert, ...]

    @cached_property
    def by_id(self) -> dict[str, Expert]:
        return {expert.id: expert for expert in self.experts}

    @cached_property
    def answerers(self) -> tuple[Expert, ...]:
        """Experts that may be recruited to answer."""
        return tuple(e for e in self.experts if ExpertRole.EXPERT in e.roles)

    @cached_property
    def aggregators(self) -> tuple[Expert, ...]:
        return tuple(e for e in self.experts if ExpertRole.AGGREGATOR in e.roles)

    @cached_property
    def fusions(self) -> frozenset[str]:
        """Ids of the experts that are fusions."""
        return frozenset(e.id for e in self.experts if e.engine.backend == FUSION)

    @cached_property
    def engines(self) -> dict[str, EngineSpec]:
        return {expert.engine.id: expert.engine for expert in self.experts}

    @cached_property
    def fingerprint(self) -> str:
        return content_hash([expert.fingerprint for expert in self.experts])
