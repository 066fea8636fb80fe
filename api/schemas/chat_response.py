"""Wire types of what `/v1/chat/completions` answers: completions, and the chunks of a stream."""

from typing import Literal

from pydantic import Field

from api.schemas.base import Wire
from api.schemas.decisions import DecisionView


def _is_none(value: object) -> bool:
    return value is None


class VoteView(Wire):
    """`value` None = abstained."""

    expert: str
    value: str | None
    weight: float
    abstained_because: str | None


class RoleUsage(Wire):
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float


class FusionStepView(Wire):
    """`alpha`: of the expert, or of each; None = the rule chooses none."""

    token_id: int
    alpha: float | list[float] | None
    loss: float | None


class FusionView(Wire):
    """`steps` are there if the request asked for a trace; `passes` by member."""

    rule: str
    steps: list[FusionStepView]
    passes: dict[str, int]
    seconds: float


class ExpectedGradeView(Wire):
    """Grade in [0, 1] that the profile leads one to expect, with its 90 % interval; `n` graded answers are
    behind it, and `source` says who graded them."""

    mean: float
    low: float
    high: float
    n: float
    source: str


class MusterView(Wire):
    """Muster's part of a chat completion, in one object. `answer_type`: as which responses were read,
    `type_inferred` where the request named none; of an open question, `expected_grade` takes the place of
    `confidence`. `ignored`: fields of the request that had no effect; `runs`: of a request for several
    choices, this part of each."""

    job_id: str
    composition: str
    recruits: list[str]
    reasons: DecisionView | None
    votes: list[VoteView]
    value: str | None
    confidence: float | None
    expected_grade: ExpectedGradeView | None = None
    answer_type: str | None = None
    type_inferred: bool = False
    degraded: bool
    notes: list[str]
    aggregator: str
    answered_by: str | None
    n_calls: int
    usage_by_role: dict[str, RoleUsage]
    ignored: list[str] = Field(default_factory=list)
    fusion: FusionView | None = None
    runs: list["MusterView"] | None = Field(default=None, exclude_if=_is_none)


class CalledFunction(Wire):
    name: str
    arguments: str


class CalledTool(Wire):
    """A call of a tool; `index` in streams only."""

    index: int | None = Field(default=None, exclude_if=_is_none)
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AssistantMessage(Wire):
    """`reasoning_content`: what the model thought, where its engine tells that apart; `function_call`: where
    the request has `functions`."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: list[CalledTool] | None = None
    function_call: CalledFunction | None = Field(default=None, exclude_if=_is_none)
    reasoning_content: str | None = Field(default=None, exclude_if=_is_none)


class TopLogprob(Wire):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprobView(TopLogprob):
    top_logprobs: list[TopLogprob]


class LogprobsView(Wire):
    content: list[TokenLogprobView]
    refusal: None = None


Finish = Literal["stop", "length", "tool_calls", "function_call"]


class Choice(Wire):
    index: int = 0
    message: AssistantMessage
    finish_reason: Finish = "stop"
    logprobs: LogprobsView | None = None


class PromptDetails(Wire):
    cached_tokens: int = 0


class CompletionDetails(Wire):
    reasoning_tokens: int = 0


class UsageView(Wire):
    """Sums of all calls that led to the answer, not of the shown text alone."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails = PromptDetails()
    completion_tokens_details: CompletionDetails = CompletionDetails()


class ChatCompletion(Wire):
    """`model` is the name that was asked for; which experts answered is in `muster`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: UsageView
    system_fingerprint: str | None = None
    service_tier: None = None
    muster: MusterView


class Delta(Wire):
    """Addition of a chunk to the message; fields that say nothing are left out."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: list[CalledTool] | None = None
    function_call: CalledFunction | None = None
    reasoning_content: str | None = None


class ChunkChoice(Wire):
    index: int = 0
    delta: Delta = Delta()
    finish_reason: Finish | None = None
    logprobs: LogprobsView | None = None


class StageView(Wire):
    """One thing that happened to the question; `call`: its number among the question's calls, from 1;
    `ahead`: calls that the expert's engine is asked first. Of one that is `writing`, `n_chars` are the
    characters so far, and `text` the last 600 of them. Of an expert that finished, `text` is how its answer
    begins, and `value` what it was read as."""

    event: Literal["recruited", "waiting", "loading", "started", "writing", "finished"]
    experts: list[str]
    role: str
    call: int | None = Field(default=None, exclude_if=_is_none)
    ahead: int | None = Field(default=None, exclude_if=_is_none)
    failed: bool | None = Field(default=None, exclude_if=_is_none)
    n_chars: int | None = Field(default=None, exclude_if=_is_none)
    value: str | None = Field(default=None, exclude_if=_is_none)
    text: str | None = Field(default=None, exclude_if=_is_none)


class StageMuster(Wire):
    """`muster` of a chunk that only tells of a stage."""

    stage: StageView


class ChatChunk(Wire):
    """A part of a completion that is streamed. The last choice has the finish reason and `muster`; where
    nothing is written for a while, chunks that add nothing tell of stages in it."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    system_fingerprint: str | None = None
    service_tier: None = None
    usage: UsageView | None = None
    muster: MusterView | StageMuster | None = None
