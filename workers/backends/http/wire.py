"""OpenAI's chat completions on the wire: what is sent, and how strictly replies are read."""

import json
import math
from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue, ValidationError

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.assignments import MOST_TOKENS
from orchestrator.domain.logprobs import TokenLogprob, TokenLogprobs
from orchestrator.domain.queries import Message, rough_tokens
from orchestrator.domain.terms import ANY_OBJECT, SamplingExtras, StructuredOutput
from orchestrator.domain.tools import ToolCall, ToolUse
from orchestrator.ports.engines import GenerationRequest
from workers.backends.http.calls import OnText, Reply
from workers.backends.http.failures import CallError, bad_response, cut_stream, error_of_status, no_json
from workers.backends.http.replies import (
    Chunk,
    Completion,
    Content,
    ErrorChunk,
    LogprobsWire,
    ModelList,
    TokenWire,
    ToolCallWire,
    UsageWire,
)

MOST_STOPS = 4
"""OpenAI's limit; the rest is applied on our side."""

LOWEST_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON cannot say."""

DONE = "[DONE]"
SAYS_NOTHING = frozenset({"", "[]", "null"})
"""Data of events between the parts of a completion."""
NO_ERROR_STATUS = 500
"""Of an error inside a stream that names none."""


class Collected:
    """Parts of a message as they come: all at once, or bit by bit in a stream."""

    def __init__(self) -> None:
        self._texts: list[str] | None = None
        self._thoughts: list[str] = []
        self._calls: dict[int, list[ToolCallWire]] = {}
        self.logprobs: list[TokenLogprobs] = []

    def add(self, part: Content | None, logprobs: LogprobsWire | None) -> None:
        """Take the next part, or the whole message. Args: part, logprobs: None = it has none."""
        self.logprobs += [_token(token) for token in (logprobs.all if logprobs else [])]
        if part is None:
            return
        if part.content is not None:
            self._texts = self._texts or []
            self._texts.append(part.content)
        self._thoughts.append(part.reasoning_content or part.reasoning or "")
        for place, call in enumerate(part.tool_calls or ()):
            self._calls.setdefault(place if call.index is None else call.index, []).append(call)

    @property
    def text(self) -> str | None:
        """The text so far; None where no part said anything of one, "" where one said that it is empty."""
        return None if self._texts is None else "".join(self._texts)

    @property
    def reasoning(self) -> str:
        """Thoughts so far that came apart from the text; "" = none."""
        return "".join(self._thoughts)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Calls that are whole enough to be made: they have a name.

        Raises:
            CallError: a name or an id that is longer than any.
        """
        try:
            calls = [_call(parts, place) for place, parts in sorted(self._calls.items())]
        except ValidationError as error:
            raise bad_response(f"a call of a tool that cannot be one: {_first(error)}.") from None
        return tuple(call for call in calls if call.name)

    @property
    def written(self) -> str:
        """All that the model wrote, for an estimate of its length."""
        calls = [part for call in self.tool_calls for part in (call.name, call.arguments)]
        return "".join([self.reasoning, self.text or "", *calls])


def _call(parts: Sequence[ToolCallWire], place: int) -> ToolCall:
    names = "".join(part.function.name or "" for part in parts)
    call_id = next((part.id for part in parts if part.id), f"call_{place}")
    return ToolCall(id=call_id, name=names, arguments="".join(_arguments(part) for part in parts))


def _arguments(part: ToolCallWire) -> str:
    given = part.function.arguments
    return json.dumps(given, ensure_ascii=False) if isinstance(given, dict) else given or ""


def _token(token: TokenWire) -> TokenLogprobs:
    top = tuple(TokenLogprob(other.token, _finite(other.logprob)) for other in token.top_logprobs)
    return TokenLogprobs(TokenLogprob(token.token, _finite(token.logprob)), top)


def _finite(logprob: float) -> float:
    return max(logprob, LOWEST_LOGPROB) if math.isfinite(logprob) else LOWEST_LOGPROB


# ── sending ───────────────────────────────────────────────────────────────────────────────────────


def sampling_params(request: GenerationRequest, *, drop: Container[str]) -> dict[str, JsonValue]:
    """Parameters that decide the text; one that says nothing new is left out."""
    sampling = request.sampling
    stop = [word for word in sampling.stop if word][:MOST_STOPS]
    params: dict[str, JsonValue] = {"temperature": sampling.temperature}
    if not sampling.fits or sampling.max_tokens < MOST_TOKENS:
        params["max_tokens"] = sampling.max_tokens
    if sampling.top_p < 1:
        params["top_p"] = sampling.top_p
    if sampling.temperature > 0:
        params["seed"] = sampling.seed
    if stop:
        params["stop"] = [*stop]
    params |= (
        _extras(sampling.extras) | _output_form(sampling.structured_output) | _tool_params(sampling.tools)
    )
    if sampling.logprobs is not None and sampling.raw:
        params["logprobs"] = sampling.logprobs
    elif sampling.logprobs is not None:
        params |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    if sampling.reasoning_effort is not None:
        params["reasoning_effort"] = sampling.reasoning_effort
    return {name: value for name, value in params.items() if name not in drop}


def _extras(extras: SamplingExtras | None) -> dict[str, JsonValue]:
    if extras is None:
        return {}
    said: dict[str, JsonValue] = extras.model_dump(exclude_defaults=True, exclude={"logit_bias"})
    if extras.logit_bias:
        said["logit_bias"] = {str(token): bias for token, bias in extras.logit_bias}
    return said


def _output_form(wanted: StructuredOutput | None) -> dict[str, JsonValue]:
    if wanted is None or wanted.json_schema is None:
        return {}
    if wanted.json_schema == ANY_OBJECT:
        return {"response_format": {"type": "json_object"}}
    form: dict[str, JsonValue] = {
        "name": wanted.name,
        "schema": wanted.json_schema,
        "strict": wanted.strict,
    }
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def _tool_params(use: ToolUse | None) -> dict[str, JsonValue]:
    if use is None:
        return {}
    named: JsonValue = {"type": "function", "function": {"name": use.name}}
    params: dict[str, JsonValue] = {
        "tools": [{"type": "function", "function": t.model_dump(exclude_none=True)} for t in use.tools]
    }
    if use.choice != "auto":
        params["tool_choice"] = named if use.choice == "named" else use.choice
    if use.parallel is not None:
        params["parallel_tool_calls"] = use.parallel
    return params


def wire_messages(request: GenerationRequest) -> list[dict[str, JsonValue]]:
    """Messages of a request as OpenAI's chat API takes them, without fields that say nothing."""
    return [_wire_message(message) for message in request.messages]


def wire_prompt(request: GenerationRequest) -> dict[str, JsonValue]:
    """Text to be read: `prompt` as it is, or `messages` of a chat."""
    if request.sampling.raw:
        return {"prompt": request.messages[-1].content}
    return {"messages": [dict(message) for message in wire_messages(request)]}


def _wire_message(message: Message) -> dict[str, JsonValue]:
    wired: dict[str, JsonValue] = {"role": message.role, "content": message.content}
    if message.tool_call_id is not None:
        wired["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        wired["content"] = message.content or None
        wired["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in message.tool_calls
        ]
    return wired


# ── reading ───────────────────────────────────────────────────────────────────────────────────────


def read_completion(body: bytes, *, prompt_chars: int) -> Reply:
    """A whole completion.

    Args:
        prompt_chars: for the usage, where the endpoint states none.

    Raises:
        CallError: it is not one, or holds no text.
    """
    completion = read_choices(body)
    choice = completion.first or completion.choices[0]
    collected = Collected()
    collected.add(choice.message, choice.logprobs)
    return _reply(collected, choice.finish_reason, completion.usage, prompt_chars=prompt_chars)


def read_choices(body: bytes) -> Completion:
    """A completion of something, perhaps of no text.

    Raises:
        CallError: it is none.
    """
    try:
        completion = Completion.model_validate_json(body)
    except ValidationError as error:
        is_json = error.errors(include_url=False)[0]["type"] != "json_invalid"
        failure = bad_response if is_json else no_json
        raise failure(f"not a chat completion: {_first(error)}.") from None
    if not completion.choices:
        raise bad_response("a completion without choices.")
    return completion


class StreamReader:
    """A completion from the data of its stream's events.

    A text counts only when the stream says that it has ended (a finish reason or `[DONE]`): what a
    broken connection leaves is no answer.
    """

    def __init__(self, *, prompt_chars: int, on_text: OnText) -> None:
        self._prompt_chars = prompt_chars
        self._on_text = on_text
        self._collected = Collected()
        self._reason: str | None = None
        self._usage: UsageWire | None = None
        self.is_done = False

    def feed(self, data: str) -> None:
        """One event.

        Raises:
            CallError: it reports an error or is no chunk of a completion.
        """
        self.is_done = self.is_done or data.strip() == DONE
        if self.is_done:
            return
        chunk = _chunk(data)
        if chunk is None:
            return
        if chunk.usage not in (None, UsageWire()):
            self._usage = chunk.usage
        if (choice := chunk.first) is None:
            return
        part = choice.delta or choice.message  # of servers that stream the whole message at once
        self._reason = choice.finish_reason or self._reason
        self._collected.add(part, choice.logprobs)
        if part is not None and part.content is not None:
            self._on_text(part.content)

    def reply(self) -> Reply:
        """The completion, at the end of the stream.

        Raises:
            CallError: it was cut, or held no text.
        """
        if self._reason is None and not self.is_done:
            raise cut_stream()
        reason = self._reason or "stop"
        return _reply(self._collected, reason, self._usage, prompt_chars=self._prompt_chars)


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
    "tool_calls": _Ending(FinishReason.TOOL_CALLS),
    "function_call": _Ending(None, "the model called a function instead of answering."),
    "abort": _Ending(None, "the endpoint aborted the request."),
    "error": _Ending(None, "the endpoint failed while it wrote."),
}


def _reply(said: Collected, reason: str | None, usage: UsageWire | None, *, prompt_chars: int) -> Reply:
    text, calls = said.text, said.tool_calls
    if reason is None:
        raise bad_response("a completion without a finish reason.")
    ending = _ENDINGS.get(reason, _Ending(FinishReason.STOP))
    if ending.reason is None:
        raise bad_response(ending.why_not)
    if ending.reason is FinishReason.TOOL_CALLS and not calls:
        raise bad_response("the model called a tool instead of answering, and does not say which.")
    if text is None and not calls:
        raise bad_response(f"a completion without text (finish reason '{reason[:40]}').")
    counted = _usage(usage, said.written, prompt_chars=prompt_chars)
    ended = FinishReason.TOOL_CALLS if calls and ending.reason is FinishReason.STOP else ending.reason
    return Reply(text or "", ended, counted, calls, said.reasoning, tuple(said.logprobs))


def _usage(usage: UsageWire | None, text: str, *, prompt_chars: int) -> Usage:
    """What the endpoint counted, else estimates from the numbers of characters."""
    counted = usage or UsageWire()
    prompt, written = counted.prompt_tokens, counted.completion_tokens
    return Usage(
        prompt_tokens=rough_tokens(prompt_chars) if prompt is None else prompt,
        completion_tokens=rough_tokens(len(text)) if written is None else written,
    )


def _chunk(data: str) -> Chunk | None:
    """One event's part of the completion; None = it says nothing.

    Raises:
        CallError: it reports an error, or is no such part.
    """
    if data.strip() in SAYS_NOTHING:
        return None
    if (error := _stream_error(data)) is not None:
        raise error
    try:
        chunk = Chunk.model_validate_json(data)
    except ValidationError as fault:
        raise bad_response(f"not a chunk of a completion: {_first(fault)}.") from None
    if chunk.is_failure:
        raise _failure(data, chunk.code)
    return chunk


def _stream_error(data: str) -> CallError | None:
    """The error that an event reports, or None when it is none."""
    if '"error"' not in data:  # of every token, looking is cheaper than reading twice
        return None
    try:
        error = ErrorChunk.model_validate_json(data).error
    except ValidationError:
        return None
    if not error:  # of servers that write the field into every event
        return None
    return _failure(data, error.get("code") if isinstance(error, dict) else None)


def _failure(data: str, code: JsonValue) -> CallError:
    status = code if isinstance(code, int) and 400 <= code < 600 else NO_ERROR_STATUS
    return error_of_status(status, {}, data.encode())


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
