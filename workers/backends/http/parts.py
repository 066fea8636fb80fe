"""Values of replies that servers write in forms of their own: contents in parts, counts, missing objects."""

from typing import Annotated

from pydantic import BeforeValidator

MOST_COUNTED = 10**9
"""Tokens of one reply: a larger number is no count."""


def _joined(content: object) -> object:
    if not isinstance(content, list):
        return content
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(text for part in parts if isinstance(text := part.get("text"), str))


TextOfParts = Annotated[str | None, BeforeValidator(_joined)]
"""A text, or the texts of a list of parts; None = nothing is said of one."""


def _counted(value: object) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal() and len(value) <= len(str(MOST_COUNTED)):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_COUNTED:
        return None
    return int(value) if value == int(value) else None


Count = Annotated[int | None, BeforeValidator(_counted)]
"""A count of tokens, 0 to `MOST_COUNTED`, also as text; None = not told, or something else."""


def _object_or_none(value: object) -> object:
    return value if isinstance(value, dict) else None


OBJECT_OR_NONE = BeforeValidator(_object_or_none)
"""Whatever is no object counts as not told."""
