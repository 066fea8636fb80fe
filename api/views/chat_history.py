"""Messages of a chat request as the fields of a query: history as clients replay it."""

from collections.abc import Sequence

from api.schemas.chat_messages import ChatMessage, ToolCallView
from orchestrator.domain.queries import Message
from orchestrator.domain.tools import ToolCall
from orchestrator.errors import InputError
from orchestrator.questions.chats import conversation

LEGACY_ID = "call_of_"
"""Beginning of the ids of calls in the older form (`function_call`, role `function`), which has none."""


def chat_content(messages: Sequence[ChatMessage]) -> dict[str, object]:
    """`question` (the user's last message), `context` before and `after` it.

    Raises:
        InputError: a message that says nothing where it must, with its place.
    """
    return conversation([_message(message, place) for place, message in enumerate(messages)])


def _message(message: ChatMessage, place: int) -> Message:
    """`developer` is another name of `system`, and `function` of `tool`."""
    if message.role == "assistant":
        return Message(
            role="assistant",
            content=message.content or message.refusal or "",
            tool_calls=_calls(message),
        )
    if message.content is None:
        raise InputError(f"messages.{place}.content: is missing.", param=f"messages.{place}.content")
    if message.role in ("tool", "function"):
        return Message(role="tool", content=message.content, tool_call_id=_call_id(message, place))
    return Message(role="user" if message.role == "user" else "system", content=message.content)


def _calls(message: ChatMessage) -> tuple[ToolCall, ...]:
    older = message.function_call
    if older is not None:
        return (ToolCall(id=f"{LEGACY_ID}{older.name}"[:256], name=older.name, arguments=older.arguments),)
    return tuple(_call(call) for call in message.tool_calls or ())


def _call(call: ToolCallView) -> ToolCall:
    return ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)


def _call_id(message: ChatMessage, place: int) -> str:
    if message.role == "function":
        return f"{LEGACY_ID}{message.name or ''}"[:256]
    if message.tool_call_id is None:
        param = f"messages.{place}.tool_call_id"
        raise InputError(f"{param}: is missing; say which call the result is of.", param=param)
    return message.tool_call_id
