"""Conversations as fields of a query."""

from collections.abc import Sequence

from pydantic import ValidationError

from orchestrator.domain.queries import Message, Query
from orchestrator.errors import InputError

LEANING_CHARS = 24
"""Characters below which a question leans on what was said before it."""
EARLIER_CHARS = 200
"""Characters of that which are read with it. Both numbers: docs/decisions/0040."""


def conversation(messages: Sequence[Message]) -> dict[str, object]:
    """`question`, `context` and `after` of a chat: the user's last message, those before and those after it.

    What comes after are calls of tools with their results, or the beginning of the answer.

    Raises:
        InputError: no message of the user's, a last one that is the system's, a call without its result, or
            a result of no call.
    """
    last = max((i for i, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None:
        raise InputError("a message with the role 'user' is needed.", param="messages")
    if messages[-1].role == "system":
        raise InputError("the last message must not be the system's: move it up.", param="messages")
    _check_calls(messages)
    asked: dict[str, object] = {"question": messages[last].content, "context": tuple(messages[:last])}
    after = tuple(messages[last + 1 :])
    if after and after[-1].role == "assistant" and not after[-1].content:
        after = after[:-1]  # nothing is begun
    return {**asked, "after": after} if after else asked


def _check_calls(messages: Sequence[Message]) -> None:
    waiting: set[str] = set()
    for place, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                raise InputError(
                    f"messages.{place}: the result of a call that no message before it makes.",
                    param=f"messages.{place}.tool_call_id",
                    remedy="Send the assistant's message with its tool_calls, too.",
                )
            waiting.discard(message.tool_call_id)
        elif waiting:
            break
        waiting |= {call.id for call in message.tool_calls}
    if waiting:
        raise InputError(
            f"messages: a call of a tool has no result ({min(waiting)[:64]}).",
            param="messages",
            remedy="Send a message with the role 'tool' for each of the tool_calls.",
        )


def parse_messages(messages: Sequence[object]) -> list[Message]:
    """Messages from untrusted values.

    Raises:
        InputError: a malformed one, with its place.
    """
    try:
        return [Message.model_validate(message) for message in messages]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"messages: {place}: {first['msg']}", param="messages") from None


def text_read(query: Query, *, shorter_than: int = LEANING_CHARS) -> str:
    """A query's text as its skills are read: the question, and where that is too short to say what it is
    about, the beginning of the user's latest message before it that is not. What others said is not read.

    Args:
        shorter_than: characters from which on a text says what it is about.
    """
    if len(query.question) >= shorter_than or query.options:
        return query.text
    earlier = [message.content for message in query.context if message.role == "user"]
    told = [text for text in earlier if len(text) >= shorter_than] or earlier
    return f"{query.text}\n{told[-1][:EARLIER_CHARS]}" if told else query.text
