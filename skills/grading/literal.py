"""Literals of Python: canonical answer = the value's `repr`, so that equal values are equal texts."""

import ast
import warnings

from orchestrator.domain.queries import Query
from orchestrator.errors import SkillError
from skills.grading.base import Reading, Verdict
from skills.grading.statements import statements, without_emphasis

MAX_CHARS = 20_000


class LiteralGrader:
    """Exact by value and by type: `[1,2]` is `[1, 2]`; case, blanks and quotes inside strings count."""

    def read(self, _query: Query, text: str, *, truncated: bool) -> Reading:
        plain = without_emphasis(text)
        for said in reversed(statements(plain, truncated=truncated)):
            value = literal(said.text) or literal(said.text.removesuffix("."))
            if value is not None:
                return Reading(value)
        if truncated:
            return Reading(None, "truncated before a stated answer")
        value = literal(text)
        return Reading(None, "no stated literal") if value is None else Reading(value)

    def equivalent(self, _query: Query, a: str, b: str) -> bool:
        return a == b

    def check(self, query: Query, value: str) -> Verdict:
        reference = literal(str(query.answer))
        if reference is None:
            raise SkillError(
                f"query '{query.id}': the reference answer '{query.answer}' is no Python literal.",
                param="answer",
                remedy="Write it as Python does: 'text' in quotes, [1, 2], True.",
            )
        return Verdict(value == reference)


def literal(source: str) -> str | None:
    """` [1,2] ` -> `[1, 2]`; None where it is no literal."""
    if len(source) > MAX_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return repr(ast.literal_eval(source.strip()))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
