"""Replies of OpenAI's chat completions as servers write them, and how much of their form may be odd."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, JsonValue, model_validator

from workers.backends.http.parts import OBJECT_OR_NONE, Count, TextOfParts


class UsageWire(BaseModel):
    """Tokens as the endpoint counted them; None = not told, or no count."""

    prompt_tokens: Count = None
    completion_tokens: Count = None


class FunctionWire(BaseModel):
    name: str | None = None
    arguments: str | dict[str, JsonValue] | None = None


class ToolCallWire(BaseModel):
    """A call, or in a stream a part of one; `index` says of which."""

    index: int | None = None
    id: str | None = None
    function: FunctionWire = FunctionWire()


class Content(BaseModel):
    """`reasoning_content`, or `reasoning`: what the model thought, of servers that tell it apart."""

    content: TextOfParts = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCallWire] | None = None


class AlternativeWire(BaseModel):
    token: str
    logprob: float


class TokenWire(AlternativeWire):
    top_logprobs: list[AlternativeWire] = []


class LogprobsWire(BaseModel):
    """`content` in a chat; the others, of equal lengths, in the completion of a prompt."""

    content: list[TokenWire] | None = None
    tokens: list[str] = []
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None

    @property
    def all(self) -> list[TokenWire]:
        """Tokens with a log probability, in order."""
        if self.content is not None:
            return self.content
        chosen = self.token_logprobs or []
        tops = self.top_logprobs or [None] * len(chosen)
        return [
            TokenWire(token=token, logprob=logprob, top_logprobs=_alternatives(top))
            for token, logprob, top in zip(self.tokens, chosen, tops, strict=False)
            if logprob is not None
        ]


def _alternatives(top: Mapping[str, float] | None) -> list[AlternativeWire]:
    found = [AlternativeWire(token=token, logprob=logprob) for token, logprob in (top or {}).items()]
    return sorted(found, key=lambda one: -one.logprob)


class WireChoice(BaseModel):
    """`message` in a completion, `delta` in a chunk of a stream; `text` in either, of a prompt."""

    index: int | None = None
    message: Content | None = None
    delta: Content | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: LogprobsWire | None = None

    @model_validator(mode="after")
    def _text_is_content(self) -> Self:
        if self.text is not None and self.message is None and self.delta is None:
            self.message = self.delta = Content(content=self.text)
        return self


class Completion(BaseModel):
    choices: list[WireChoice]
    usage: Annotated[UsageWire | None, OBJECT_OR_NONE] = None

    @property
    def first(self) -> WireChoice | None:
        """The choice 0: one is asked for. None = there is none, or only others."""
        return next((choice for choice in self.choices if not choice.index), None)


class Model(BaseModel):
    id: str


class ModelList(BaseModel):
    data: list[Model]


def _choices_told(choices: object) -> object:
    if choices is None:
        return []
    return [one for one in choices if one is not None] if isinstance(choices, list) else choices


class Chunk(Completion):
    """A part of a streamed completion; many servers send some that say nothing of a choice.

    `object`, `message`, `detail` and `code` are of servers that write an error in a chunk's place.
    """

    choices: Annotated[list[WireChoice], BeforeValidator(_choices_told)] = []
    object: JsonValue = None
    message: JsonValue = None
    detail: JsonValue = None
    code: JsonValue = None

    @property
    def is_failure(self) -> bool:
        """True of an error: it has no choice, and says what went wrong."""
        return not self.choices and bool(self.object == "error" or self.message or self.detail)


class ErrorChunk(BaseModel):
    """An error in place of a chunk, or beside what there is of one."""

    error: dict[str, JsonValue] | str
