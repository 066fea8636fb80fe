"""Small readings of a response's text. Texts come from models that may run wild: all take linear time."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

_WORD = re.compile(r"\w+")
_NUMBER = re.compile(
    r"(-?\d[\d,]*\.?\d*)(?:[eE]([-+]?\d{1,3})|\s?(?:\\times|×|x|\*)\s?10\s?\^\s?\{?\s?(-?\d{1,3}))?"
)
_STATED = re.compile(
    r"\banswer\s{1,3}is\b|\banswer\s?:|\\boxed\s?\{|^[ \t]?####", re.IGNORECASE | re.MULTILINE
)
_LETTER = re.compile(r"\(([A-Z])\)|\b[Oo]ptions?\s\(?([A-Z])\b|^\s?([A-Z])[.)]\s", re.MULTILINE)
_ELIMINATES = (
    "incorrect", "not correct", "not the correct", "eliminat", "rule out", "ruled out", "rules out",
    "is wrong", "is false", "not true", "not appl", "not relevant",
)  # fmt: skip
_HEDGES = frozenset(
    ("maybe", "perhaps", "probably", "likely", "possible", "possibly", "might", "may", "seem", "seems",
     "appear", "appears", "assume", "assumed", "assumes", "assuming", "assumption", "approximately",
     "however", "but", "unfortunately")
)  # fmt: skip
_GIVES_UP = (
    "cannot", "not possible", "not enough", "not given", "not provided", "not listed", "none of the",
    "no correct", "closest", "mistake", "unable", "sorry", "not sure", "unclear", "insufficient",
)  # fmt: skip

_RELATIVE_TOLERANCE = 0.011
"""Numbers rounded to two digits still match."""


class Parts(NamedTuple):
    """A text, split where the answer is stated last; without a statement all of it is reasoning."""

    reasoning: str
    n_statements: int


def split_at_statement(text: str) -> Parts:
    """The text before its last statement of an answer, such as `the answer is`, and how many it has."""
    starts = [match.start() for match in _STATED.finditer(text)]
    return Parts(text[: starts[-1]] if starts else text, len(starts))


def words(text: str) -> list[str]:
    """Lower-case words and numbers, in order."""
    return _WORD.findall(text.lower())


def loop_share(tokens: Sequence[str], n: int = 4) -> float:
    """Share of n-grams that occurred before in the text, in [0, 1): near 1 for a model caught in a loop."""
    grams = list(zip(*(tokens[i:] for i in range(n)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def numbers(text: str) -> list[float]:
    """Numbers in order: `1,200`, `-0.5`, `3e8` and `3 × 10^8` are one number each."""
    return [float(f"{n.replace(',', '')}e{e or power or 0}") for n, e, power in _NUMBER.findall(text)]


def distance(a: float, b: float) -> float:
    """|a − b| relative to the larger of the two, in [0, 2]; 0 for equal numbers."""
    largest = max(abs(a), abs(b))
    return abs(a - b) / largest if largest and largest != float("inf") else float(a != b)


def matches(a: float, b: float) -> bool:
    """True if a and b are equal but for rounding: within 1.1 % of the larger."""
    return distance(a, b) <= _RELATIVE_TOLERANCE


def occurs(value: float, ordered: Sequence[float]) -> bool:
    """True if a number of the ascending sequence `ordered` matches `value`."""
    near, far = sorted((value * (1 - _RELATIVE_TOLERANCE), value / (1 - _RELATIVE_TOLERANCE)))
    place = bisect_left(ordered, near)
    return place < len(ordered) and ordered[place] <= far


def letters(text: str) -> list[str]:
    """Options named by their letter, in order: `(B)`, `Option B`, or a line that begins with `B)` or `B.`."""
    return [next(g for g in match.groups() if g) for match in _LETTER.finditer(text)]


def n_eliminated(joined: str) -> int:
    """Phrases that rule something out, in words joined by single spaces."""
    return sum(map(joined.count, _ELIMINATES))


def n_hedges(tokens: Sequence[str]) -> int:
    """Words that take back or soften."""
    return sum(token in _HEDGES for token in tokens)


def n_surrenders(joined: str) -> int:
    """Phrases that say that nothing fits or can be known, in words joined by single spaces."""
    return sum(map(joined.count, _GIVES_UP))
