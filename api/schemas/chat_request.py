"""Wire types of a request to `/v1/chat/completions`."""

from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from api.schemas.base import Wire
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
    fusion says what it chose at each token. `max_wait_s`: how long the request may wait for its place where
    many are answered."""

    options: list[str] | None = None
    answer_type: AnswerTypeName | None = None
    timeout_s: float | None = Field(default=None, gt=0)
    max_wait_s: float | None = Field(default=None, ge=0)
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
