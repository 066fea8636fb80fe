"""Prompts that ask for JSON of a schema, and once more where it did not come."""

import json
from collections.abc import Mapping

from pydantic import JsonValue

from orchestrator.domain.queries import Message
from orchestrator.domain.terms import ANY_OBJECT
from orchestrator.prompts.defusing import defuse

SHOWN_CHARS = 8000
"""Of a response that is to be mended."""


def form(schema: Mapping[str, JsonValue]) -> str:
    """The sentence that asks for JSON of a schema."""
    if schema == ANY_OBJECT:
        return "Reply with one JSON object and nothing else."
    shown = defuse(json.dumps(schema, ensure_ascii=False))
    return f"Reply with one JSON value and nothing else. It must keep to this JSON schema:\n{shown}"


def mend(text: str, fault: str) -> tuple[Message, Message]:
    """The turns that show an expert what it wrote and what is wrong with it."""
    wrong = Message(role="assistant", content=defuse(text[:SHOWN_CHARS]) or "(nothing)")
    asked = (
        f"That is not the JSON that was asked for: {defuse(fault)}. Reply with it mended and nothing else."
    )
    return wrong, Message(role="user", content=asked)
