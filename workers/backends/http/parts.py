"""Contents as lists of parts, as Mistral's servers write them: texts are joined, thoughts left out."""

from typing import Annotated

from pydantic import BeforeValidator


def _joined(content: object) -> object:
    if not isinstance(content, list):
        return content
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(text for part in parts if isinstance(text := part.get("text"), str))


TextOfParts = Annotated[str | None, BeforeValidator(_joined)]
"""A text, or the texts of a list of parts; None = nothing is said of one."""
