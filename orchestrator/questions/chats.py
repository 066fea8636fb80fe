"""Conversations as fields of a query."""

from collections.abc import Sequence

from pydantic import ValidationError

from orchestrator.domain.queries import Message
from orchestrator.errors import InputError


def conversation(messages: Sequence[Message]) -> dict[str, object]:
    """`question` and `context` of a chat: the last message must be the user's.

    Raises:
        InputError: no messages, or a last one that is not the user's.
    """
    if not messages or messages[-1].role != "user":
        raise InputError("the last message must have the role 'user'", param="messages")
    return {"question": messages[-1].content, "context": tuple(messages[:-1])}


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
