"""Requests to `/v1/responses` in a chat's words, and the conversations that they go on from."""

from collections.abc import Callable, Collection, Iterator, Sequence

from pydantic import JsonValue, ValidationError

from api.errors import UnsupportedParameterError, fields_error
from api.schemas.chat_request import ChatRequest
from api.schemas.responses import Item, ResponseRequest
from api.views.chat_fields import ignored_fields
from api.views.responses import output_items
from orchestrator.domain.experts import Expert
from orchestrator.errors import InputError
from orchestrator.services.exchanges import Answered

SAME = (
    *("model", "stream", "temperature", "top_p", "parallel_tool_calls", "metadata", "user"),
    *("safety_identifier", "prompt_cache_key", "service_tier", "store"),
)
"""Fields that a chat has under the same name."""

RENAMED = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
}
"""A chat's fields, and what they are called here."""

IN_VAIN = ("include", "max_tool_calls", "prompt_cache_retention", "truncation")
"""Fields that change no answer here."""

ROLES = frozenset({"user", "assistant", "system", "developer"})
TEXT_PARTS = frozenset({"input_text", "output_text", "text", "refusal"})

_REFUSED: tuple[tuple[str, Callable[[ResponseRequest], bool], str], ...] = (
    (
        "background",
        lambda r: bool(r.background),
        "answers are waited for. Submit a job (`/v1/jobs`) instead.",
    ),
    (
        "conversation",
        lambda r: r.conversation is not None,
        "conversations are not kept apart. Use `previous_response_id`.",
    ),
    ("prompt", lambda r: r.prompt is not None, "there are no stored prompts. Send `instructions`."),
    ("top_logprobs", lambda r: bool(r.top_logprobs), "not here. Ask `/v1/chat/completions`."),
    (
        "include",
        lambda r: "message.output_text.logprobs" in (r.include or ()),
        "no log probabilities here. Ask `/v1/chat/completions`.",
    ),
)


def as_chat(request: ResponseRequest, before: Sequence[Answered] = ()) -> ChatRequest:
    """The chat that asks for the same.

    Args:
        before: what the request goes on from, the oldest first.

    Raises:
        UnsupportedParameterError: a field or an item that would have to be ignored.
        InputError: a malformed item, or a value that a chat refuses.
    """
    for name, applies, message in _REFUSED:
        if applies(request):
            raise UnsupportedParameterError(f"{name}: {message}", param=name)
    given = {name: value for name in SAME if (value := getattr(request, name)) is not None}
    chat = {**given, "messages": list(_messages(request, before)), "muster": request.muster}
    optional: dict[str, object] = {
        "max_completion_tokens": request.max_output_tokens,
        "response_format": _format(request),
        "tools": _tools(request),
        "tool_choice": _tool_choice(request.tool_choice),
        "reasoning_effort": request.reasoning and request.reasoning.effort,
        "verbosity": request.text and request.text.verbosity,
    }
    chat |= {name: value for name, value in optional.items() if value is not None}
    return _checked(chat)


def items_of(request: ResponseRequest, unique: str) -> tuple[Item, ...]:
    """Items of the input, each with an id of its own, as they are kept and shown; `as_chat` has taken
    them."""
    return tuple(_kept(item, f"{unique}_{i}") for i, item in enumerate(request.input))


def echo_of(request: ResponseRequest) -> dict[str, JsonValue]:
    """Fields of the request that its response shows."""
    shown = request.model_dump(
        mode="json",
        exclude_none=True,
        exclude={"input", "stream", "stream_options", "muster", "include", "background", "conversation"},
    )
    return dict(shown)


def ignored(request: ResponseRequest, chat: ChatRequest, experts: Collection[Expert]) -> list[str]:
    """Names of the fields that were given and change nothing, sorted.

    Args:
        chat: the same as a chat.
        experts: that may be asked.
    """
    ours = [name for name in IN_VAIN if getattr(request, name) not in (None, [], "disabled")]
    theirs = [RENAMED.get(name, name) for name in ignored_fields(chat, experts) if name != "store"]
    return sorted({*ours, *theirs})


def renamed(error: InputError) -> InputError:
    """An error about a chat's field, about the field that it is here."""
    param = error.param or ""
    for theirs, ours in RENAMED.items():
        if param == theirs or param.startswith(f"{theirs}."):
            now = ours + param[len(theirs) :]
            message = str(error).replace(param, now)
            return type(error)(message, param=now)
    return error


def _checked(chat: dict[str, object]) -> ChatRequest:
    known = {name: value for name, value in chat.items() if name in ChatRequest.model_fields}
    try:
        return ChatRequest.model_validate(known)
    except ValidationError as error:
        raise renamed(fields_error(error.errors(include_url=False))) from None


def _messages(request: ResponseRequest, before: Sequence[Answered]) -> Iterator[dict[str, object]]:
    """Instructions are of this request alone, so those of earlier ones are left out."""
    if request.instructions:
        yield {"role": "system", "content": request.instructions}
    earlier = [item for one in before for item in _said(one)]
    messages: list[dict[str, object]] = []
    for i, item in enumerate([*earlier, *request.input]):
        _say(messages, item, place=f"input.{i - len(earlier)}" if i >= len(earlier) else "input")
    yield from messages


def _said(answered: Answered) -> list[Item]:
    exchange, answer = answered
    return [*exchange.items, *(() if answer is None else output_items(answer, exchange.id))]


def _say(messages: list[dict[str, object]], item: Item, *, place: str) -> None:
    """Put an item behind the messages of a chat. Calls that follow each other are one message's, and what an
    expert thought before is not said again."""
    kind = item.get("type", "message" if "role" in item else None)
    if kind == "message":
        messages.append(_message(item, place=place))
    elif kind == "function_call":
        last = messages[-1] if messages else {}
        calls = last.get("tool_calls")
        if isinstance(calls, list):
            calls.append(_call(item))
        else:
            messages.append({"role": "assistant", "content": None, "tool_calls": [_call(item)]})
    elif kind == "function_call_output":
        said = _text(item.get("output"), place=f"{place}.output")
        messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": said})
    elif kind != "reasoning":
        raise UnsupportedParameterError(
            f"{place}: items of type {_quoted(kind)} are not supported.",
            param=place,
            remedy="Send messages, calls of functions, and what these gave.",
        )


def _message(item: Item, *, place: str) -> dict[str, object]:
    role = item.get("role")
    if role not in ROLES:
        raise InputError(f"{place}.role: must be one of {', '.join(sorted(ROLES))}.", param=f"{place}.role")
    return {"role": role, "content": _text(item.get("content"), place=f"{place}.content")}


def _call(item: Item) -> dict[str, object]:
    function = {"name": item.get("name"), "arguments": item.get("arguments", "")}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def _text(content: JsonValue, *, place: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise InputError(f"{place}: must be a text, or a list of parts.", param=place)
    return "\n".join(_part(part, place=f"{place}.{i}") for i, part in enumerate(content))


def _part(part: JsonValue, *, place: str) -> str:
    if not isinstance(part, dict):
        raise InputError(f"{place}: a part must be a JSON object.", param=place)
    kind = part.get("type")
    if kind not in TEXT_PARTS:
        raise UnsupportedParameterError(
            f"{place}: parts of type {_quoted(kind)} are not supported: text only.", param=place
        )
    text = part.get("refusal" if kind == "refusal" else "text")
    if not isinstance(text, str):
        raise InputError(f"{place}: the text of a part must be a string.", param=place)
    return text


def _kept(item: Item, unique: str) -> Item:
    """An item as it is shown: a message has its text in parts."""
    if item.get("type", "message") != "message":
        return {"id": unique, **item}
    role = item.get("role")
    kind = "output_text" if role == "assistant" else "input_text"
    text = _text(item.get("content"), place="input")
    part: Item = {"type": kind, "text": text} | ({"annotations": []} if role == "assistant" else {})
    given = item.get("id")
    return {
        "id": given if isinstance(given, str) and given else f"msg_{unique}",
        "type": "message",
        "role": role,
        "status": "completed",
        "content": [part],
    }


def _format(request: ResponseRequest) -> dict[str, object] | None:
    """`text.format` as `response_format`, where what describes the schema stands in an object of its own."""
    given = request.text and request.text.format
    if not given:
        return None
    if given.get("type") != "json_schema":
        return dict(given)
    described = {name: value for name, value in given.items() if name != "type"}
    return {"type": "json_schema", "json_schema": described}


def _tools(request: ResponseRequest) -> list[dict[str, object]] | None:
    if request.tools is None:
        return None
    return [_tool(tool, place=f"tools.{i}") for i, tool in enumerate(request.tools)]


def _tool(tool: dict[str, JsonValue], *, place: str) -> dict[str, object]:
    """A tool as a chat has it: what describes the function stands in an object of its own."""
    if tool.get("type") != "function":
        raise UnsupportedParameterError(
            f"{place}: tools of type {_quoted(tool.get('type'))} are not there: functions only.", param=place
        )
    described = {name: value for name, value in tool.items() if name != "type" and value is not None}
    return {"type": "function", "function": described}


def _tool_choice(choice: str | dict[str, JsonValue] | None) -> object:
    """`{"type": "function", "name": ...}` as a chat has it."""
    if not isinstance(choice, dict) or choice.get("type") != "function":
        return choice
    return {"type": "function", "function": {"name": choice.get("name")}}


def _quoted(kind: JsonValue) -> str:
    return f"'{kind[:64]}'" if isinstance(kind, str) else "none"
