"""Wire types of the REST API. Requests refuse unknown fields and coerce nothing ("3" is not 3)."""

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from orchestrator.domain.queries import AnswerType

AnswerTypeName = Annotated[AnswerType, Field(strict=False)]
MetadataKey = Annotated[str, StringConstraints(max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


# ── requests ──────────────────────────────────────────────────────────────────────────────────────


def _joined_text(content: object) -> object:
    """A list of text parts as one string; everything else is left to the type check."""
    if not isinstance(content, list):
        return content
    if not content:
        raise ValueError("the list of parts is empty")
    for part in content:
        if not isinstance(part, dict) or set(part) != {"type", "text"} or part["type"] != "text":
            raise ValueError('only text parts are supported: {"type": "text", "text": ...}')
        if not isinstance(part["text"], str):
            raise ValueError("the text of a part must be a string")
    return "\n".join(part["text"] for part in content)


Content = Annotated[
    str,
    BeforeValidator(_joined_text),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                        "required": ["type", "text"],
                    },
                },
            ]
        }
    ),
]


class ChatMessage(Wire):
    """The fields that are None only are those of an assistant message that a client sends back."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content
    name: str | None = Field(default=None, max_length=64)
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    audio: None = None
    annotations: None = None


class ResponseFormat(Wire):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, object] | None = None


class StreamOptions(Wire):
    """`include_usage`: one more chunk at the end, with the usage and no choice."""

    include_usage: bool = False


class MusterRequest(Wire):
    """What OpenAI's API has no field for. `options` make the question a choice."""

    options: list[str] | None = None
    answer_type: AnswerTypeName | None = None
    timeout_s: float | None = Field(default=None, gt=0)


class ChatRequest(Wire):
    """`POST /v1/chat/completions`. `metadata` and `user` are accepted and not used."""

    model: str = Field(min_length=1, max_length=512)
    messages: list[ChatMessage] = Field(min_length=1, max_length=2048)
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: str | list[str] | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    user: str | None = Field(default=None, max_length=256)
    metadata: dict[MetadataKey, MetadataValue] | None = Field(default=None, max_length=16)
    muster: MusterRequest = MusterRequest()


class RouteRequest(Wire):
    """`POST /v1/route`: give `question` or `messages`."""

    question: str | None = None
    messages: list[ChatMessage] | None = Field(default=None, min_length=1, max_length=2048)
    options: list[str] | None = None
    answer_type: AnswerTypeName | None = None
    model: str = Field(default="auto", min_length=1, max_length=512)


# ── decisions and answers ─────────────────────────────────────────────────────────────────────────


class SkillView(Wire):
    name: str
    weight: float


class EvidenceView(Wire):
    """`accuracy` in [0, 1] with its 90 % interval, from `n` graded questions."""

    skill: str
    weight: float
    score: float
    n: float
    accuracy: float
    low: float
    high: float


class RecruitView(Wire):
    expert: str
    weight: float
    score: float
    accuracy: float
    evidence: list[EvidenceView]
    note: str | None


class DecisionView(Wire):
    """`reserves` were not asked, or not yet."""

    router: str
    recruits: list[RecruitView]
    reserves: list[RecruitView] = []
    skills: list[SkillView]
    runner_up: RecruitView | None
    would_change: str | None
    notes: list[str]
    card_version: str
    seed: int


class RouteView(DecisionView):
    object: Literal["muster.route"] = "muster.route"
    model: str


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


class MusterView(Wire):
    """What is ours in a chat completion, in one object."""

    job_id: str
    composition: str
    recruits: list[str]
    reasons: DecisionView | None
    votes: list[VoteView]
    value: str | None
    confidence: float | None
    degraded: bool
    notes: list[str]
    aggregator: str
    answered_by: str | None
    n_calls: int
    usage_by_role: dict[str, RoleUsage]


class AssistantMessage(Wire):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    tool_calls: None = None


class Choice(Wire):
    index: int = 0
    message: AssistantMessage
    finish_reason: Literal["stop", "length"] = "stop"
    logprobs: None = None


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
    """What a chunk adds to the message; fields that say nothing are left out."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(Wire):
    index: int = 0
    delta: Delta = Delta()
    finish_reason: Literal["stop", "length"] | None = None
    logprobs: None = None


class ChatChunk(Wire):
    """A part of a completion that is streamed. The last choice has the finish reason and `muster`."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    system_fingerprint: str | None = None
    service_tier: None = None
    usage: UsageView | None = None
    muster: MusterView | None = None


# ── look-ups ──────────────────────────────────────────────────────────────────────────────────────


class ModelView(Wire):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(Wire):
    object: Literal["list"] = "list"
    data: list[ModelView]


class ExpertView(Wire):
    """`accuracy` on the profile questions; None = not profiled. Costs are USD per token."""

    id: str
    object: Literal["muster.expert"] = "muster.expert"
    engine: str
    backend: str
    is_adapter: bool
    roles: list[str]
    max_tokens: int
    params_b: float | None
    input_cost_per_token: float
    output_cost_per_token: float
    fingerprint: str
    accuracy: float | None


class ExpertList(Wire):
    object: Literal["list"] = "list"
    data: list[ExpertView]


class TallyView(Wire):
    n_right: float
    n_wrong: float
    n_abstain: float
    accuracy: float


class DriftView(Wire):
    """Recent feedback that the history of a card does not explain. `skill` None = the card as a whole;
    `recent`: share right of the last `n` judged answers; by the history, `expected`, and with 90 %
    probability from `low` to `high`."""

    expert: str
    skill: str | None
    recent: float
    n: float
    expected: float
    low: float
    high: float


class CardView(Wire):
    """A competence card: counts per skill on the profile questions and, decayed, from feedback, whose part
    of `total` is `feedback`."""

    object: Literal["muster.card"] = "muster.card"
    expert: str
    fingerprint: str
    profile_hash: str
    total: TallyView
    skills: dict[str, TallyView]
    domains: dict[str, TallyView]
    aggregation: dict[str, TallyView]
    mean_tokens: float
    mean_latency_ms: float
    cost_per_query: float
    feedback: TallyView
    drift: list[DriftView]


class FeedbackRequest(Wire):
    """`POST /v1/feedback`: give `right` or `score` (0 to 1). `query` may be left out where a job has one."""

    job: str = Field(min_length=1, max_length=512)
    query: str | None = Field(default=None, min_length=1, max_length=512)
    right: bool | None = None
    score: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _one_verdict(self) -> Self:
        if (self.right is None) == (self.score is None):
            raise ValueError("give either right or score")
        return self

    @property
    def verdict(self) -> float:
        """In [0, 1]; 1 = right."""
        return float(bool(self.right)) if self.score is None else self.score


class FeedbackView(Wire):
    """A judgement as it counts: per expert, in shares of one observation."""

    object: Literal["muster.feedback"] = "muster.feedback"
    job: str
    query: str
    score: float
    experts: dict[str, TallyView]


class StayView(Wire):
    """An engine on a device; seconds since the job was submitted."""

    device: str
    engine: str
    load_from_s: float
    serve_from_s: float
    until_s: float
    past: bool


class PlanView(Wire):
    """Loads and seconds of a job. `lower_bound_s`: of what is left, or of the whole run once it ended;
    `ratio`: that run over its bound."""

    object: Literal["muster.plan"] = "muster.plan"
    job: str
    state: str
    loads_done: int
    loads_left: int
    seconds_done: float
    seconds_left: float
    lower_bound_s: float
    ratio: float | None
    optimal: bool
    stays: list[StayView]


class JobCounts(Wire):
    """Of queries; completed + failed + waiting == total."""

    total: int
    completed: int
    failed: int
    waiting: int


class JobView(Wire):
    """A submission. `calls` are generations on the books so far, `responses` those that came back;
    times in seconds since 1970."""

    id: str
    object: Literal["muster.job"] = "muster.job"
    kind: str
    state: Literal["running", "done", "cancelled", "expired"]
    model: str
    label: str
    counts: JobCounts
    calls: int
    responses: int
    loads: int
    created_at: int
    finished_at: int | None
    deadline_at: int | None


class JobList(Wire):
    object: Literal["list"] = "list"
    data: list[JobView]


class CheckView(Wire):
    """A check that is not `required` costs speed, not answers."""

    check: str
    ok: bool
    detail: str
    remedy: str | None
    required: bool


class ReadyView(Wire):
    status: Literal["ready", "not_ready"]
    degraded: bool
    checks: list[CheckView]
