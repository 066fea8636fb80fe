"""Tools: what a model may have done for it, and its calls of them. Whoever asks runs them, never Muster."""

from typing import Literal

from pydantic import Field, JsonValue

from orchestrator.domain.values import Value


class Tool(Value):
    """A function that may be called. `parameters`: JSON schema of its arguments; None = it has none.
    `strict`: arguments are to follow the schema to the letter."""

    name: str = Field(min_length=1, max_length=64)
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: bool | None = None


class ToolUse(Value):
    """Tools of a request.

    Args:
        choice: `auto` = a call or text; `required` = at least one call; `named` = a call of the tool `name`.
        parallel: several calls at once; None = as the model does.
    """

    tools: tuple[Tool, ...] = Field(min_length=1)
    choice: Literal["auto", "required", "named"] = "auto"
    name: str | None = None
    parallel: bool | None = None


class ToolCall(Value):
    """A call of a tool. `arguments`: as the model wrote them, JSON as a rule."""

    id: str = Field(max_length=256)
    name: str = Field(max_length=256)
    arguments: str = ""
