"""Wire types of `/v1/chat/completions`."""

from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from api.schemas.base import Wire
from api.schemas.decisions import DecisionView
from orchestrator.domain.queries import AnswerType

AnswerTypeName = Annotated[AnswerType, Field(strict=False)]
MetadataKey = Annotated[str, StringConstraints(max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


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
    """Options of a chat request that OpenAI's API lacks. `options` make the question a choice. `trace`: a
    fusion says what it chose at each token."""

    options: list[str] | None = None
    answer_type: AnswerTypeName | None = None
    timeout_s: float | None = Field(default=None, gt=0)
    trace: bool = False


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


class MusterView(Wire):
    """Muster's part of a chat completion, in one object."""

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
    fusion: FusionView | None = None


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
    """Addition of a chunk to the message; fields that say nothing are left out."""

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
