"""The base of wire types, and errors. Requests refuse unknown fields and coerce nothing ("3" is not 3)."""

from pydantic import (
    BaseModel,
    ConfigDict,
    JsonValue,
)


class Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def shown_as(**example: JsonValue) -> ConfigDict:
    """Configuration of a wire type whose schema shows an example."""
    return ConfigDict(extra="forbid", strict=True, json_schema_extra={"example": example})


class BadLineView(Wire):
    """A line of a question set that cannot be read; `line` counts from 1."""

    line: int
    message: str


class ErrorDetails(Wire):
    """OpenAI's error object. `param`: the field at fault; `lines`: of a question set, those at fault."""

    message: str
    type: str
    param: str | None
    code: str
    lines: list[BadLineView] | None = None


class ErrorView(Wire):
    """Body of every response whose status is 400 or more."""

    error: ErrorDetails
