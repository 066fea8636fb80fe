"""LaTeX: canonical answer = the expression as written, tidied; compared by mathematical value."""

import re
from fractions import Fraction

from orchestrator.domain.queries import Query
from orchestrator.errors import SkillError
from skills.grading import number
from skills.grading.base import Reading, Verdict
from skills.grading.math_process import MathProcess
from skills.grading.statements import statements, unboxed
from skills.grading.thinking import without_thinking

MAX_CHARS = 1_000

_TIDY = (
    (re.compile(r"\\left|\\right|\\displaystyle|\\[,;!]|\\(?=\s)|\$|\\\(|\\\)|\\\[|\\\]"), ""),
    (re.compile(r"\\[dt]frac"), r"\\frac"),
    (re.compile(r"\s+"), " "),
)
_COMMAND = re.compile(r"\\[A-Za-z]+(?:\s*\{[A-Za-z ]*\})?")
_WORD = re.compile(r"(?<![A-Za-z])[A-Za-z]{2,}(?![A-Za-z])")
_NUMERAL = re.compile(r"\A[-+\d.,/ ]+\Z")
_MATHS = re.compile(r"[\d\\^_=+*/<>]|^\s*\(?[A-Za-z]\)?\s*$")


class LatexGrader:
    """Canonical form: the tidied source; `equivalent` asks math-verify in a process of its own."""

    def __init__(self, process: MathProcess) -> None:
        self._process = process

    def read(self, _query: Query, text: str, *, truncated: bool) -> Reading:
        for said in reversed(statements(text, truncated=truncated)):
            if said.denies:
                return Reading(None, "states no expression")
            value = tidy(said.text)
            if value is not None:
                return Reading(value)
        if truncated:
            return Reading(None, "truncated before a stated answer")
        value = tidy(text) if "\n" not in text.strip() else None
        return Reading(None, "no stated expression") if value is None else Reading(value)

    def equivalent(self, _query: Query, a: str, b: str) -> bool:
        if a == b:
            return True
        numbers = (_as_number(a), _as_number(b))
        if numbers[0] is not None and numbers[1] is not None:
            return number.close(numbers[0], numbers[1])
        return self._process.same(*sorted((a, b)))

    def check(self, query: Query, value: str) -> Verdict:
        reference = tidy(without_thinking(str(query.answer)) or "")
        if reference is None:
            raise SkillError(
                f"query '{query.id}': the reference answer '{query.answer}' is not an expression.",
                param="answer",
            )
        return Verdict(self.equivalent(query, value, reference))


def tidy(said: str) -> str | None:
    """`$\\dfrac{1}{2}$.` -> `\\frac{1}{2}`; None for prose and for what is too long to compare."""
    value = unboxed(said)
    if len(value) > 4 * MAX_CHARS:
        return None
    for pattern, replacement in _TIDY:
        value = pattern.sub(replacement, value)
    value = value.strip().rstrip(".,;").strip()
    if not value or len(value) > MAX_CHARS or not _MATHS.search(value):
        return None
    return None if _is_prose(value) or value.count("{") != value.count("}") else value


def _is_prose(value: str) -> bool:
    """More than two plain words: a sentence that happens to hold a sign or a digit."""
    return len(_WORD.findall(_COMMAND.sub(" ", value))) > 2


def _as_number(value: str) -> Fraction | None:
    """A plain number; anything with a unit or a symbol is left to math-verify."""
    return number.stated_number(value) if _NUMERAL.match(value) else None
