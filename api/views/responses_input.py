"""Requests to `/v1/responses` in a chat's words, and the conversations that they go on from."""

from collections.abc import Callable, Iterator, Sequence

from pydantic import JsonValue, ValidationError

from api.errors import UnsupportedParameterError, fields_error
from api.schemas.chat_request import ChatRequest
from api.schemas.responses import Item, ResponseRequest
from api.views.responses import output_items
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
    """Items of the input, each with an id of its own, as they are kept and shown."""
    return tuple(_kept(item, f"{unique}_{i}") for i, item in enumerate(request.input))


def echo_of(request: ResponseRequest) -> dict[str, JsonValue]:
    """Fields of the request that its response shows."""
    shown = request.model_dump(
        mode="json",
        exclude_none=True,
        exclude={"input", "stream", "stream_options", "muster", "include", "background", "conversation"},
    )
    return dict(shown)


def ignored(request: ResponseRequest) -> list[str]:
    """Names of the fields that were given and change nothing."""
    return [name for name in IN_VAIN if getattr(request, name) not in (None, [], "disabled")]


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
    for i, item in enumerate([*earlier, *request.input]):
        yield from _message(item, place=f"input.{i - len(earlier)}" if i >= len(earlier) else "input")


def _said(answered: Answered) -> list[Item]:
    exchange, answer = answered
    return [*exchange.items, *(() if answer is None else output_items(answer, exchange.id))]


def _message(item: Item, *, place: str) -> Iterator[dict[str, object]]:
    """The item as messages of a chat; what an expert thought before is not said again."""
    kind = item.get("type", "message" if "role" in item else None)
    if kind == "reasoning":
        return
    if kind != "message":
        raise UnsupportedParameterError(
            f"{place}: items of type {_quoted(kind)} are not supported.",
            param=place,
            remedy="Send messages.",
        )
    role = item.get("role")
    if role not in ROLES:
        raise InputError(f"{place}.role: must be one of {', '.join(sorted(ROLES))}.", param=f"{place}.role")
    yield {"role": role, "content": _text(item.get("content"), place=f"{place}.content")}


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
