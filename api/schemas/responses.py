"""Wire types of `/v1/responses`."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, WithJsonSchema

from api.schemas.base import Wire
from api.schemas.chat_request import MetadataKey, MetadataValue, MusterRequest
from api.schemas.chat_response import MusterView

Item = dict[str, JsonValue]
"""An item of input or output. Which types there may be, and their fields, are checked where they are read."""


def _as_items(value: object) -> object:
    """A text as the user's message; everything else is left to the type check."""
    return [{"type": "message", "role": "user", "content": value}] if isinstance(value, str) else value


Input = Annotated[
    list[Item],
    Field(min_length=1, max_length=2048),
    BeforeValidator(_as_items),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}, "minItems": 1}]}
    ),
]


class TextOptions(Wire):
    """`format`: as `response_format` of a chat, without its `json_schema` around the schema."""

    format: dict[str, JsonValue] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningOptions(Wire):
    """`effort` is for experts that reason; summaries are not made."""

    effort: str | None = Field(default=None, max_length=64)
    summary: str | None = Field(default=None, max_length=64)
    generate_summary: str | None = Field(default=None, max_length=64)


class ResponseStreamOptions(Wire):
    """`include_obfuscation`: accepted; nothing is added to a stream."""

    include_obfuscation: bool | None = None


class ResponseRequest(Wire):
    """`POST /v1/responses`. Fields that a chat has, too, mean what they mean there."""

    model: str = Field(min_length=1, max_length=512)
    input: Input
    instructions: str | None = None
    previous_response_id: str | None = Field(default=None, min_length=1, max_length=512)
    store: bool | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    max_output_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    text: TextOptions | None = None
    tools: list[dict[str, JsonValue]] | None = Field(default=None, max_length=128)
    tool_choice: str | dict[str, JsonValue] | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: int | None = Field(default=None, ge=1)
    reasoning: ReasoningOptions | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: list[str] | None = Field(default=None, max_length=64)
    metadata: dict[MetadataKey, MetadataValue] | None = Field(default=None, max_length=16)
    background: bool | None = None
    conversation: str | dict[str, JsonValue] | None = None
    prompt: dict[str, JsonValue] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    user: str | None = None
    muster: MusterRequest = MusterRequest()


class InputTokensDetails(Wire):
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(Wire):
    reasoning_tokens: int = 0


class ResponseUsage(Wire):
    """Sums of all calls that led to the answer, not of the shown text alone."""

    input_tokens: int
    input_tokens_details: InputTokensDetails = InputTokensDetails()
    output_tokens: int
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int


class ResponseFailure(Wire):
    code: str
    message: str


class IncompleteDetails(Wire):
    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ResponseView(Wire):
    """A response as it stands: while it is `in_progress` it has no output, no usage and no `muster`."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    background: bool = False
    error: ResponseFailure | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    model: str
    output: list[Item]
    parallel_tool_calls: bool = True
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    reasoning: dict[str, JsonValue]
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool
    temperature: float | None = None
    text: dict[str, JsonValue]
    tool_choice: JsonValue = "auto"
    tools: list[dict[str, JsonValue]]
    top_logprobs: int | None = None
    top_p: float | None = None
    truncation: str
    usage: ResponseUsage | None = None
    user: str | None = None
    metadata: dict[str, str]
    muster: MusterView | None = None


class DeletedResponse(Wire):
    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class InputItems(Wire):
    """A page of what a response was asked; `has_more`: there are further ones after the last."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool
