"""Prompts that show solved questions before the one that is asked."""

from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.domain.queries import Message, Query
from orchestrator.prompts.asides import without_asides
from orchestrator.prompts.asking import expert
from orchestrator.prompts.defusing import defuse


class Shot(NamedTuple):
    """A solved question, and the reply that solved it."""

    query: Query
    reply: str


def with_shots(
    query: Query, shots: Sequence[Shot], *, style: str, system_prompt: str | None = None
) -> tuple[Message, ...]:
    """Messages that ask an expert a query after solved ones, as earlier turns (Medprompt, arXiv:2311.16452).

    Replies are foreign text: asides are left out of them, and control strings broken up.

    Raises:
        UnknownNameError: no such style.
    """
    asked = expert(query, style=style, system_prompt=system_prompt)
    at = 1 if system_prompt else 0
    turns = [message for shot in shots for message in _turns(shot, style)]
    return (*asked[:at], *turns, *asked[at:])


def _turns(shot: Shot, style: str) -> tuple[Message, Message]:
    asked = expert(shot.query.replaced(context=(), answer=None), style=style)[-1]
    return asked, Message(role="assistant", content=defuse(without_asides(shot.reply)))
