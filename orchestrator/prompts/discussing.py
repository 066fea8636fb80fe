"""Prompts of discussions: turns of advocates, agents that hear each other, a conductor and its experts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.queries import Message, Query
from orchestrator.prompts.asking import answer_form
from orchestrator.prompts.defusing import defuse
from orchestrator.prompts.fencing import asked, fenced, is_data
from orchestrator.prompts.histories import history
from orchestrator.prompts.judging import COMPACT
from orchestrator.prompts.synthesizing import SYNTHESIZE_STYLES, compact


class Heard(NamedTuple):
    """An instruction that an expert was given, by its number, and what it replied."""

    number: int
    instruction: str
    reply: str


def advocate(query: Query, own: str, other: str, turns: Sequence[str], *, fence: str) -> tuple[Message, ...]:
    """Ask for one turn of a debate (arXiv:2311.08702, arXiv:2407.04622; our words).

    Args:
        own, other: the answer that is argued for, and the one against.
        turns: both sides' turns so far, in order.
    """
    parts = (
        "You take part in a debate about the question below: you argue for candidate 1, another side for "
        f"candidate 2. {is_data(fence)}",
        asked(query.text, fence),
        fenced((own, other), fence),
        f"The debate so far:\n{fenced(turns, fence, what='turn')}" if turns else "",
        "Write your turn, at most 150 words: the best evidence for candidate 1, and what is wrong with "
        "candidate 2 or with what was said for it. Claim nothing that cannot be checked.",
    )
    return _asked(query, parts)


def reconsider(query: Query, own: str, others: Sequence[str], *, fence: str) -> tuple[Message, ...]:
    """Ask an expert again, which now sees the others' last answers (arXiv:2305.14325; our words)."""
    parts = (
        f"You answered the question below, and so did others. {is_data(fence)}",
        asked(query.text, fence),
        f"Your answer:\n{fenced((own,), fence, what='answer')}",
        f"Answers of others, which may be wrong:\n{fenced(others, fence)}",
        "Hold them against yours, and answer the question anew.",
        answer_form(query),
    )
    return _asked(query, parts)


def conduct(
    query: Query,
    experts: Mapping[int, str],
    heard: Sequence[Heard],
    *,
    rounds_left: int,
    style: str,
    fence: str,
) -> tuple[Message, ...]:
    """Ask the conductor for its next instruction, or for the answer (arXiv:2401.12954; our words).

    Args:
        experts: what each expert is good at, by its number.
        rounds_left: the present one included; 1 is announced as the last.
        style: `full`, or `compact`: the question and all replies, no instruction; the reply is the answer.

    Raises:
        UnknownNameError: no such style.
    """
    SYNTHESIZE_STYLES.find(style)
    if style == COMPACT:
        return _asked(query, (compact(query, [one.reply for one in heard]),))
    listed = "\n".join(f"expert {number}: {what}" for number, what in experts.items())
    replies = "\n".join(
        f"You told expert {one.number}: {defuse(one.instruction)}\n"
        + fenced((one.reply,), fence, what="reply")
        for one in heard
    )
    last = "This is the last round: you must give the final answer now."
    more = (
        f"{rounds_left} rounds are left. An expert sees nothing but your instruction, so put into it all "
        "that it needs to know."
    )
    parts = (
        f"You lead experts who can help you with the question below. {is_data(fence)}",
        asked(query.text, fence),
        f"Experts:\n{listed}",
        replies,
        last if rounds_left <= 1 else more,
        "" if rounds_left <= 1 else "To ask one, write one line: ASK N: instruction, where N is its number.",
        f"To end, write a line FINAL and after it the answer. {answer_form(query)}".strip(),
    )
    return _asked(query, parts)


def consult(instruction: str) -> tuple[Message, ...]:
    """An instruction as its expert hears it: nothing but its words ("fresh eyes")."""
    return (Message(role="user", content=defuse(instruction)),)


def _asked(query: Query, parts: Sequence[str]) -> tuple[Message, ...]:
    content = "\n\n".join(part for part in parts if part)
    return (*history(query), Message(role="user", content=content))
