"""Skill tags: symbolic names of what a query needs."""

import string

from pydantic import Field

from orchestrator.domain.values import Value

MAX_SKILL_CHARS = 64

_PUNCTUATION = str.maketrans({ch: " " for ch in string.punctuation if ch not in "-+#/"})


class SkillTag(Value):
    """A skill and how much a query needs it: weight in (0, 1], e.g. a cosine similarity."""

    name: str
    weight: float = Field(default=1.0, gt=0.0, le=1.0 + 1e-6)


def normalise_skill(name: str) -> str:
    """Lower case, punctuation to blanks, single blanks: `"Unit  Conversion."` -> `"unit conversion"`."""
    return " ".join(name.lower().translate(_PUNCTUATION).split())
