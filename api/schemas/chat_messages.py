"""Wire types of the messages and tools of a chat request."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, WithJsonSchema, model_validator

from api.schemas.base import Wire

MAX_TOOLS = 128
_TEXT_PARTS = {"text": "text", "refusal": "refusal", "input_text": "text", "output_text": "text"}
"""Kinds of parts that are text, and where they hold it."""


def _joined_text(content: object) -> object:
    """A list of text parts as one string; everything else is left to the type check."""
    if not isinstance(content, list):
        return content
    if not content:
        raise ValueError("the list of parts is empty")
    return "\n".join(_text_of(part) for part in content)


def _text_of(part: object) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        raise ValueError('a part must be an object with a `type`, like {"type": "text", "text": ...}')
    if kind not in _TEXT_PARTS:
        raise ValueError(f"text only: parts of type '{kind[:40]}' are not supported. Send text parts")
    text = part.get(_TEXT_PARTS[kind])
    if not isinstance(text, str):
        raise ValueError("the text of a part must be a string")
    return text


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


class FunctionCall(Wire):
    """A call as the model wrote it; `arguments` is JSON as text."""

    model_config = ConfigDict(extra="ignore", strict=True)

    name: str = Field(min_length=1, max_length=256)
    arguments: str = ""


class ToolCallView(Wire):
    model_config = ConfigDict(extra="ignore", strict=True)

    id: str = Field(max_length=256)
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(Wire):
    """A message. Fields that are not known here are dropped, and named in `muster.ignored`."""

    model_config = ConfigDict(extra="allow", strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content | None = None
    name: str | None = Field(default=None, max_length=256)
    refusal: str | None = None
    tool_calls: list[ToolCallView] | None = Field(default=None, max_length=MAX_TOOLS)
    tool_call_id: str | None = Field(default=None, max_length=256)
    function_call: FunctionCall | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_what_parts_lose(cls, data: Any) -> Any:
        """Keys of parts beside type and text, as if they were the message's."""
        parts = data.get("content") if isinstance(data, dict) else None
        if not isinstance(parts, list):
            return data
        keys = {key for part in parts if isinstance(part, dict) for key in part} - {"type", "text", "refusal"}
        return {**data, **{f"content.{key}": None for key in sorted(keys) if isinstance(key, str)}}


class FunctionTool(Wire):
    """A function that the model may call; `parameters`: JSON schema of its arguments."""

    model_config = ConfigDict(extra="ignore", strict=True)

    name: str = Field(pattern=r"^[a-zA-Z0-9_.:-]{1,64}$")
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: bool | None = None


class ChatTool(Wire):
    model_config = ConfigDict(extra="ignore", strict=True)

    type: Literal["function"]
    function: FunctionTool


class NamedFunction(Wire):
    model_config = ConfigDict(extra="ignore", strict=True)

    name: str


class NamedTool(Wire):
    type: Literal["function"] = "function"
    function: NamedFunction


ToolChoice = Literal["none", "auto", "required"] | NamedTool
