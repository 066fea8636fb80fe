"""Decisions, votes and answers: what a user gets back, with the reasons."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from pydantic import Field, JsonValue

from orchestrator.domain.fusions import FusionTrace
from orchestrator.domain.logprobs import TokenLogprobs
from orchestrator.domain.posteriors import Interval
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.skills import SkillTag
from orchestrator.domain.tools import ToolCall
from orchestrator.domain.values import Value

NO_ANSWER = "no_answer"
"""Error code of an answer when everybody who was asked abstained."""

NOT_SURE = "I am not sure enough to answer."
"""Text of an answer that was withheld for its low confidence."""


class SkillEvidence(Value):
    """One reason to consider an expert: a matched skill, the card's score for it, and how sure that is."""

    skill: str
    weight: float
    score: float
    n: float
    accuracy: float
    interval: Interval


class Recruit(Value):
    """One expert that was considered.

    `weight` is the router's share for it (weights of a decision sum to 1 over its recruits; a reserve's is on
    the same scale);
    `accuracy` its estimated probability of being right on this query, of an open one its expected grade, in
    [0, 1]. `in_place_of`: an expert that could not be asked. `mixture`: experts whose adapters this one
    composes for the query, or members that it fuses, with their shares.
    """

    expert_id: str
    weight: float = Field(ge=0)
    score: float
    accuracy: float = Field(ge=0, le=1)
    evidence: tuple[SkillEvidence, ...] = ()
    note: str | None = None
    in_place_of: str | None = None
    mixture: tuple[tuple[str, float], ...] = ()


class Decision(Value):
    """A router's choice for a query: the recruits, best first, and why.

    `recruits` may name an expert more than once (sampling with replacement). `reserves` are asked next, in
    order, where the composition asks in waves; one that is asked becomes a recruit. `runner_up` is the
    best expert that was left out; `would_change` says what would have let it in. `card_version` and
    `seed` make the decision repeatable. `answer_type`: as it was inferred; None = the query says its own.
    """

    router: str
    recruits: tuple[Recruit, ...]
    reserves: tuple[Recruit, ...] = ()
    skills: tuple[SkillTag, ...] = ()
    runner_up: Recruit | None = None
    would_change: str | None = None
    card_version: str = ""
    seed: int = 0
    notes: tuple[str, ...] = ()
    answer_type: AnswerType | None = None

    @property
    def expert_ids(self) -> tuple[str, ...]:
        """Ids of the recruits, best first; one that was drawn more than once stands more than once."""
        return tuple(r.expert_id for r in self.recruits)

    def recruit(self, expert_id: str) -> Recruit | None:
        """The recruit of that id, in its best place if it was drawn more than once; None = it is none."""
        return next((r for r in self.recruits if r.expert_id == expert_id), None)


def as_typed(query: Query, decision: Decision | None) -> Query:
    """The query as it was answered: with the type that its decision inferred, where it said none."""
    if not query.infers or decision is None or decision.answer_type is None:
        return query
    return query.typed(decision.answer_type)


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    ABORT = "abort"
    ERROR = "error"


class Usage(Value):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0

    def __add__(self, other: Self) -> "Usage":
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost_usd=self.cost_usd + other.cost_usd,
        )


def total_usage(parts: Iterable[Usage]) -> Usage:
    """Sum of tokens and USD; zeros of none."""
    counts = [(part.prompt_tokens, part.completion_tokens, part.cost_usd) for part in parts]
    if not counts:
        return Usage()
    prompt, completion, cost_usd = map(sum, zip(*counts, strict=True))
    return Usage(prompt_tokens=prompt, completion_tokens=completion, cost_usd=cost_usd)


class ExpectedGrade(Value):
    """Score in [0, 1] that the profile leads one to expect of an open answer, with its 90 % interval.

    `n`: scored profile answers behind it; `source`: who gave the scores (`GradeSource`).
    """

    mean: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    n: float = Field(ge=0)
    source: str


class Vote(Value):
    """One response as it counted. `value` None = abstention (unparsed, truncated or failed)."""

    expert_id: str
    value: str | None
    weight: float
    abstained_because: str | None = None


class Answer(Value):
    """The final answer of a query.

    Attributes:
        text: what to show. Empty only when `error` is set, or in place of `tool_calls`.
        value: canonical form (choice: the letter), None when no expert gave a readable answer.
        confidence: calibrated probability that `value` is right, where the aggregator estimates one.
        expected_grade: of an answer to an open question; such an answer has no confidence.
        degraded: fewer experts answered than were recruited, or a fallback was used; `notes` say what.
        usage_by_role: tokens and cost per role of the calls (`CallRole`).
        answered_by: the expert whose words `text` is; None for a composed answer.
        answer_type: as which the responses were read; None = nobody answered, or it was not kept.
        finish_reason: of the response that `text` comes from; LENGTH = it was cut off.
        fusion: how `answered_by` came to its words, where that is a fusion.
        tool_calls: that the answer asks for; `reasoning`: what was thought before it, where that was told
            apart; `logprobs`: of its tokens. All of them are of `answered_by`.
    """

    text: str
    finish_reason: FinishReason = FinishReason.STOP
    value: str | None = None
    confidence: float | None = Field(default=None, ge=0, le=1)
    expected_grade: ExpectedGrade | None = None
    answer_type: AnswerType | None = None
    aggregator: str = ""
    answered_by: str | None = None
    degraded: bool = False
    notes: tuple[str, ...] = ()
    votes: tuple[Vote, ...] = ()
    decision: Decision | None = None
    usage_by_role: dict[str, Usage] = Field(default_factory=dict)
    n_calls: int = 0
    error_code: str | None = None
    error: str | None = None
    fusion: FusionTrace | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    logprobs: tuple[TokenLogprobs, ...] = ()
    extras: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def usage(self) -> Usage:
        """Tokens and USD of all calls that led to it."""
        return total_usage(self.usage_by_role.values())


def as_answered(query: Query, answer: Answer) -> Query:
    """The query with the type as which its answer was read, where it said none."""
    return query.typed(answer.answer_type) if query.infers and answer.answer_type is not None else query
