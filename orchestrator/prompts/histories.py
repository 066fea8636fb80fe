"""Histories: earlier turns of a conversation, in the form that whoever reads them can take."""

from collections.abc import Iterable

from orchestrator.domain.queries import Message, Query
from orchestrator.prompts.defusing import defused


def history(query: Query) -> tuple[Message, ...]:
    """Turns beside the question, for a model that reads plain text."""
    return without_tools(defused((*query.context, *query.after)))


def without_tools(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The messages with calls of tools, and what these gave, as texts of the assistant and the user.

    Results in a row become one turn, so that roles go on alternating.
    """
    told: list[Message] = []
    names: dict[str, str] = {}
    follows_result = False
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        is_result = message.role == "tool"
        plain = _plain(message, names)
        if is_result and follows_result:
            joined = f"{told[-1].content}\n{plain.content}"
            told[-1] = plain.model_copy(update={"content": joined})
        else:
            told.append(plain)
        follows_result = is_result
    return tuple(told)


def _plain(message: Message, names: dict[str, str]) -> Message:
    if message.role == "tool":
        name = names.get(message.tool_call_id or "", "a tool")
        return Message(role="user", content=f"[result of {name}] {message.content}")
    if not message.tool_calls:
        return message
    calls = [f"[call of {call.name}] {call.arguments}" for call in message.tool_calls]
    return Message(role=message.role, content="\n".join([message.content, *calls]).strip())
