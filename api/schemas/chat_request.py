"""Wire types of a request to `/v1/chat/completions`."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
)

from api.schemas.base import Wire
from api.schemas.chat_messages import (
    MAX_TOOLS,
    ChatMessage,
    ChatTool,
    FunctionTool,
    NamedFunction,
    ToolChoice,
)
from orchestrator.domain.queries import AnswerType

AnswerTypeName = Annotated[AnswerType, Field(strict=False)]
MetadataKey = Annotated[str, StringConstraints(max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
StopWord = Annotated[str, StringConstraints(max_length=512)]
TokenId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")]
Bias = Annotated[float, Field(ge=-100, le=100)]

MAX_STOPS = 16


def _no_zero(n_tokens: int) -> int:
    if n_tokens == 0:
        raise ValueError("must be 1 or more, or -1 for as many as fit")
    return n_tokens


def _nothing_said(muster: object) -> object:
    return {} if muster is None else muster


def _listed(stop: object) -> object:
    return [stop] if isinstance(stop, str) else stop


Stops = Annotated[
    list[StopWord],
    Field(max_length=MAX_STOPS),
    BeforeValidator(_listed),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "maxLength": 512},
                {"type": "array", "items": {"type": "string", "maxLength": 512}, "maxItems": MAX_STOPS},
            ]
        }
    ),
]
MaxTokens = Annotated[int, Field(ge=-1, le=1_000_000), AfterValidator(_no_zero)]
"""-1 = as many as fit."""


class JsonSchemaForm(Wire):
    """A schema that the answer keeps to; Muster checks that it does, strict or not."""

    model_config = ConfigDict(extra="ignore", strict=True)

    name: str = Field(default="answer", pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Wire):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaForm | None = None


class StreamOptions(Wire):
    """`include_usage`: one more chunk at the end, with the usage and no choice."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class MusterRequest(Wire):
    """Options of a chat request that OpenAI's API lacks.

    `options` make the question a choice. `composition`, `router` and `k` say how experts are chosen and made
    one answer, `experts` who may be asked; `max_cost_usd` and `max_seconds` leave out whose calls are
    expected to need more. `explain`: reasons of the choice are shown, unless false. `trace`: a fusion says
    what it chose at each token. `max_wait_s`: how long the request may wait for its place where many are
    answered. `stages`: a stream tells of stages from its beginning; `writing`: and of what each call has
    written so far. `session` names the conversation that the request is a turn of: its experts are kept while
    these are about as good.
    """

    options: list[str] | None = None
    answer_type: AnswerTypeName | None = None
    timeout_s: float | None = Field(default=None, gt=0)
    max_wait_s: float | None = Field(default=None, ge=0)
    composition: str | None = Field(default=None, min_length=1, max_length=512)
    router: str | None = Field(default=None, min_length=1, max_length=256)
    k: int | None = Field(default=None, ge=1, le=100)
    experts: list[str] | None = Field(default=None, min_length=1, max_length=1000)
    max_cost_usd: float | None = Field(default=None, gt=0)
    max_seconds: float | None = Field(default=None, gt=0)
    session: str | None = Field(default=None, min_length=1, max_length=512)
    explain: bool | None = None
    trace: bool | None = None
    stages: bool | None = None
    writing: bool | None = None


class ChatRequest(Wire):
    """`POST /v1/chat/completions`. What OpenAI's API knows is done, or refused by name, or, where it cannot
    change the answer, ignored and named in `muster.ignored` of the response. A null says nothing.

    Fields that are not known here are refused, unless the setting `server.unknown_fields` says `ignore`.
    """

    model_config = ConfigDict(extra="allow", strict=True, json_schema_extra={"additionalProperties": False})

    model: str = Field(min_length=1, max_length=512)
    messages: list[ChatMessage] = Field(min_length=1, max_length=2048)
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1, le=2**31)
    min_p: float | None = Field(default=None, ge=0, le=1)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    logit_bias: dict[TokenId, Bias] | None = Field(default=None, max_length=2048)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: Stops | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    tools: list[ChatTool] | None = Field(default=None, max_length=MAX_TOOLS)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[FunctionTool] | None = Field(default=None, max_length=MAX_TOOLS)
    function_call: Literal["none", "auto"] | NamedFunction | None = None
    reasoning_effort: str | None = Field(default=None, max_length=64)
    verbosity: str | None = Field(default=None, max_length=64)
    modalities: list[str] | None = Field(default=None, max_length=8)
    audio: dict[str, JsonValue] | None = None
    prediction: dict[str, JsonValue] | None = None
    store: bool | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    metadata: dict[MetadataKey, MetadataValue] | None = Field(default=None, max_length=16)
    muster: Annotated[MusterRequest, BeforeValidator(_nothing_said)] = MusterRequest()
