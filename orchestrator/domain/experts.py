"""Experts, who answer, and the engines that hold their base weights."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from pydantic import Field, JsonValue

from orchestrator.domain.features import NO_FEATURES, Feature
from orchestrator.domain.values import Value, content_hash


class ExpertRole(StrEnum):
    """Kind of work that an expert may be asked to do."""

    EXPERT = "expert"
    AGGREGATOR = "aggregator"
    ANNOTATOR = "annotator"
    JUDGE = "judge"


FUSION = "fusion"
"""Backend of engines whose members' logits are fused."""

LONGEST_CONTEXT = 10_000_000
"""Tokens."""


class ThoughtMarks(Value):
    """Texts around what a model thinks, such as `<think>` and `</think>`."""

    open: str = Field(min_length=1, max_length=64)
    close: str = Field(min_length=1, max_length=64)


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
        reasoning: marks around thoughts; None = those that its tokenizer or chat template shows.
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
    reasoning: ThoughtMarks | None = None

    @cached_property
    def fields_of_definition(self) -> Mapping[str, str]:
        """Hashes of what decides how it is served, by field; its name, and where its weights lie, do not."""
        return {name: content_hash(value) for name, value in _serving(self).items()}

    @cached_property
    def definition(self) -> str:
        """Hash of how it is served: one of other options is another engine, whatever it is called."""
        return content_hash(dict(self.fields_of_definition))


class Expert(Value):
    """One LLM of the pool, as the router sees it.

    `adapter` is a LoRA directory applied over the engine's base weights. `fingerprint` identifies
    the weights and serving options: outcomes measured for one fingerprint never count for another.
    Costs are USD per token. `max_tokens` is the longest response where nobody asks for another length;
    `most_tokens` the longest that the pool gives, None = what fits. `features`: what its engine can do beside
    plain text; `takes_assistant_first`: conversations that an assistant's turn begins.
    """

    id: str = Field(min_length=1, max_length=256)
    engine: EngineSpec
    adapter: str | None = None
    roles: frozenset[ExpertRole] = frozenset({ExpertRole.EXPERT})
    prompt: str = "instruct"
    synthesize_prompt: str = "full"
    system_prompt: str | None = None
    max_tokens: int = Field(default=512, ge=1, le=1_000_000)
    most_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    features: frozenset[Feature] = NO_FEATURES
    takes_assistant_first: bool = True
    input_cost_per_token: float = Field(default=0.0, ge=0.0)
    output_cost_per_token: float = Field(default=0.0, ge=0.0)
    params_b: float | None = Field(default=None, gt=0)
    weights_hash: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Identity of weights and options: the same wherever the weights lie; only weights without an
        identity count by their place."""
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
    if engine.reasoning is None:  # as before there was such an option
        del fields["reasoning"]
    numbers = {name: number for number, name in enumerate(engine.members)}
    return {**fields, "options": _numbered(engine.options, numbers)} if numbers else fields


def _numbered(value: JsonValue, numbers: dict[str, int]) -> JsonValue:
    if isinstance(value, dict):
        return {key: _numbered(inner, numbers) for key, inner in value.items()}
    if isinstance(value, list):
        return [_numbered(inner, numbers) for inner in value]
    return numbers.get(value, value) if isinstance(value, str) else value


class Pool:
    """The experts of one configuration, in the order of its file; those that merges made come last.

    It does not change after it was made; a `LivePool` does.

    Args:
        departed: experts that left while this process ran, the last one first. Nobody asks them any more;
            calls to them that are on the books are still served.
    """

    def __init__(self, *, experts: Iterable[Expert], departed: Iterable[Expert] = ()) -> None:
        self._roll = _Roll(tuple(experts), tuple(departed))

    @property
    def experts(self) -> tuple[Expert, ...]:
        """Experts of any role, in the order of the pool."""
        return self._roll.experts

    @property
    def departed(self) -> tuple[Expert, ...]:
        """Experts that left while this process ran, the last one first."""
        return self._roll.departed

    @property
    def by_id(self) -> Mapping[str, Expert]:
        """Experts by id, without those that departed: see `known`."""
        return self._roll.by_id

    @property
    def known(self) -> Mapping[str, Expert]:
        """Experts by id, with those that departed."""
        return self._roll.known

    @property
    def answerers(self) -> tuple[Expert, ...]:
        """Experts that may be recruited to answer."""
        return self._roll.answerers

    @property
    def aggregators(self) -> tuple[Expert, ...]:
        """Experts that may be asked to write the final answer, or to judge others'."""
        return self._roll.aggregators

    @property
    def judges(self) -> tuple[Expert, ...]:
        """Experts that may be asked to score responses."""
        return self._roll.judges

    @property
    def fusions(self) -> frozenset[str]:
        """Ids of the experts that are fusions."""
        return self._roll.fusions

    @property
    def engines(self) -> Mapping[str, EngineSpec]:
        """Engines by id, without those of experts that departed: see `known_engines`."""
        return self._roll.engines

    @property
    def known_engines(self) -> Mapping[str, EngineSpec]:
        """Engines by id, with those of experts that departed."""
        return self._roll.known_engines

    @property
    def engine_of(self) -> Mapping[str, str]:
        """Engine ids by expert id, with those that departed."""
        return self._roll.engine_of

    @property
    def fingerprint(self) -> str:
        """Hash of the experts' own fingerprints, in order; roles and costs are not in it."""
        return self._roll.fingerprint

    @property
    def now(self) -> "Pool":
        """The pool as it is, for who must see one pool from first to last."""
        pool = Pool(experts=())
        pool._roll = self._roll
        return pool

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(expert.id for expert in self.experts)})"


class LivePool(Pool):
    """A pool that experts join and leave while it is used, by any number of threads.

    Each look at it sees the pool of some moment, whole; two looks may see two.
    """

    def follow(self, pool: Pool) -> None:
        """Be that pool from now on. Who is in it no longer has departed."""
        stay = {(expert.id, expert.engine.id) for expert in pool.experts}
        left = {(e.id, e.engine.id): e for e in (*reversed(self.departed), *reversed(self.experts))}
        departed = (expert for place, expert in reversed(left.items()) if place not in stay)
        self._roll = _Roll(pool.experts, tuple(departed))


@dataclass(frozen=True)
class _Roll:
    """Experts of one moment, and by what they are looked up."""

    experts: tuple[Expert, ...]
    departed: tuple[Expert, ...]

    @cached_property
    def by_id(self) -> Mapping[str, Expert]:
        return {expert.id: expert for expert in self.experts}

    @cached_property
    def known(self) -> Mapping[str, Expert]:
        return {expert.id: expert for expert in (*reversed(self.departed), *self.experts)}

    @cached_property
    def answerers(self) -> tuple[Expert, ...]:
        return tuple(e for e in self.experts if ExpertRole.EXPERT in e.roles)

    @cached_property
    def aggregators(self) -> tuple[Expert, ...]:
        return tuple(e for e in self.experts if ExpertRole.AGGREGATOR in e.roles)

    @cached_property
    def judges(self) -> tuple[Expert, ...]:
        return tuple(e for e in self.experts if ExpertRole.JUDGE in e.roles)

    @cached_property
    def fusions(self) -> frozenset[str]:
        return frozenset(e.id for e in self.experts if e.engine.backend == FUSION)

    @cached_property
    def engines(self) -> Mapping[str, EngineSpec]:
        return {expert.engine.id: expert.engine for expert in self.experts}

    @cached_property
    def known_engines(self) -> Mapping[str, EngineSpec]:
        return {**{expert.engine.id: expert.engine for expert in self.departed}, **self.engines}

    @cached_property
    def engine_of(self) -> Mapping[str, str]:
        return {expert_id: expert.engine.id for expert_id, expert in self.known.items()}

    @cached_property
    def fingerprint(self) -> str:
        return content_hash([expert.fingerprint for expert in self.experts])
