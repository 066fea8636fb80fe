"""OpenAI's chat completions on the wire: what is sent, and how strictly replies are read."""

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, JsonValue, ValidationError

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.queries import rough_tokens
from orchestrator.ports.engines import GenerationRequest
from workers.backends.http.calls import OnText, Reply
from workers.backends.http.failures import CallError, bad_response, cut_stream, error_of_status

MOST_STOPS = 4
"""OpenAI's limit; the rest is applied on our side."""

DONE = "[DONE]"
NO_ERROR_STATUS = 500
"""Of an error inside a stream that names none."""


class UsageWire(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Content(BaseModel):
    content: str | None = None


class WireChoice(BaseModel):
    """`message` in a completion, `delta` in a chunk of a stream."""

    message: Content | None = None
    delta: Content | None = None
    finish_reason: str | None = None


class Completion(BaseModel):
    choices: list[WireChoice]
    usage: UsageWire | None = None


class Model(BaseModel):
    id: str


class ModelList(BaseModel):
    data: list[Model]


class ErrorChunk(BaseModel):
    error: dict[str, JsonValue] | str


# ── sending ───────────────────────────────────────────────────────────────────────────────────────


def sampling_params(request: GenerationRequest, *, drop: Container[str]) -> dict[str, JsonValue]:
    """Parameters that decide the text; one that says nothing new is left out."""
    sampling = request.sampling
    stop = [word for word in sampling.stop if word][:MOST_STOPS]
    params: dict[str, JsonValue] = {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature}
    if sampling.top_p < 1:
        params["top_p"] = sampling.top_p
    if sampling.temperature > 0:
        params["seed"] = sampling.seed
    if stop:
        params["stop"] = [*stop]
    return {name: value for name, value in params.items() if name not in drop}


def wire_messages(request: GenerationRequest) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in request.messages]


# ── reading ───────────────────────────────────────────────────────────────────────────────────────


def read_completion(body: bytes, *, prompt_chars: int) -> Reply:
    """A whole completion.

    Args:
        prompt_chars: for the usage, where the endpoint states none.

    Raises:
        CallError: it is not one, or holds no text.
    """
    try:
        completion = Completion.model_validate_json(body)
    except ValidationError as error:
        raise bad_response(f"not a chat completion: {_first(error)}.") from None
    if not completion.choices:
        raise bad_response("a completion without choices.")
    choice = completion.choices[0]
    text = choice.message.content if choice.message else None
    return _reply(text, choice.finish_reason, completion.usage, prompt_chars=prompt_chars)


class StreamReader:
    """A completion from the data of its stream's events.

    A text counts only when the stream says that it has ended (a finish reason or `[DONE]`): what a
    broken connection leaves is no answer.
    """

    def __init__(self, *, prompt_chars: int, on_text: OnText) -> None:
        self._prompt_chars = prompt_chars
        self._on_text = on_text
        self._parts: list[str] | None = None
        self._reason: str | None = None
        self._usage: UsageWire | None = None
        self.is_done = False

    def feed(self, data: str) -> None:
        """One event.

        Raises:
            CallError: it reports an error or is no chunk of a completion.
        """
        if data.strip() == DONE:
            self.is_done = True
            return
        chunk = _chunk(data)
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices[:1]:
            self._reason = choice.finish_reason or self._reason
            if choice.delta is not None and choice.delta.content is not None:
                self._parts = self._parts or []
                self._parts.append(choice.delta.content)
                self._on_text(choice.delta.content)

    def reply(self) -> Reply:
        """The completion, at the end of the stream.

        Raises:
            CallError: it was cut, or held no text.
        """
        if self._reason is None and not self.is_done:
            raise cut_stream()
        text = None if self._parts is None else "".join(self._parts)
        return _reply(text, self._reason or "stop", self._usage, prompt_chars=self._prompt_chars)


def read_models(body: bytes) -> Sequence[str]:
    """Ids of `/models`.

    Raises:
        CallError: not such a list.
    """
    try:
        return [model.id for model in ModelList.model_validate_json(body).data]
    except ValidationError as error:
        raise bad_response(f"not a list of models: {_first(error)}.") from None


class _Ending(NamedTuple):
    reason: FinishReason | None
    why_not: str = ""


_ENDINGS: Mapping[str, _Ending] = {
    "stop": _Ending(FinishReason.STOP),
    "length": _Ending(FinishReason.LENGTH),
    "content_filter": _Ending(None, "the endpoint's content filter cut the text."),
    "tool_calls": _Ending(None, "the model called a tool instead of answering."),
    "function_call": _Ending(None, "the model called a function instead of answering."),
    "abort": _Ending(None, "the endpoint aborted the request."),
    "error": _Ending(None, "the endpoint failed while it wrote."),
}


def _reply(text: str | None, reason: str | None, usage: UsageWire | None, *, prompt_chars: int) -> Reply:
    if reason is None:
        raise bad_response("a completion without a finish reason.")
    ending = _ENDINGS.get(reason, _Ending(FinishReason.STOP))
    if ending.reason is None:
        raise bad_response(ending.why_not)
    if text is None:
        raise bad_response(f"a completion without text (finish reason '{reason[:40]}').")
    return Reply(text, ending.reason, _usage(usage, text, prompt_chars=prompt_chars))


def _usage(usage: UsageWire | None, text: str, *, prompt_chars: int) -> Usage:
    """What the endpoint counted, else an estimate from the number of characters."""
    if usage is None:
        return Usage(prompt_tokens=rough_tokens(prompt_chars), completion_tokens=rough_tokens(len(text)))
    return Usage(prompt_tokens=max(0, usage.prompt_tokens), completion_tokens=max(0, usage.completion_tokens))


def _chunk(data: str) -> Completion:
    try:
        return Completion.model_validate_json(data)
    except ValidationError as error:
        raise _stream_error(data) or bad_response(f"not a chunk of a completion: {_first(error)}.") from None


def _stream_error(data: str) -> CallError | None:
    """The error that an event reports, or None when it is none."""
    try:
        error = ErrorChunk.model_validate_json(data).error
    except ValidationError:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else NO_ERROR_STATUS
    return error_of_status(status, {}, data.encode())


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
