"""LaTeX: canonical answer = the expression as written, tidied; compared by mathematical value.

Two answers are the same if they have the same key: a value, a list, an interval, a matrix, an expression in
letters. A key belongs to a whole answer, so nothing is equal because a part of it is, and "same" is an
equivalence.
"""

import re
from fractions import Fraction

from orchestrator.domain.queries import Query
from orchestrator.errors import SkillError
from skills.grading import number, number_text
from skills.grading.base import Reading, Verdict
from skills.grading.latex_form import base_numeral, for_parser, normal, without_known_base, words
from skills.grading.marks import unmarked
from skills.grading.math_process import MathProcess
from skills.grading.statements import Origin, Statement, statements, unboxed
from skills.grading.thinking import without_thinking

MAX_CHARS = 1_000
MAX_WORDS = 2
"""Plain words in an expression; more are a sentence."""

_ENCLOSED = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_TIDY = (
    (re.compile(r"\\displaystyle(?![A-Za-z])|(?<!\\)\\[,;!](?=\s|\Z)"), ""),
    (re.compile(r"\\[dt]frac(?![a-z])"), r"\\frac"),
    (re.compile(r"\s+"), " "),
)
_SEGMENT = re.compile(r"\\\((?P<round>[^\n]{1,1000}?)\\\)|(?<![\\$])\$(?P<dollar>[^$\n]{1,1000}?)(?<!\\)\$")
_COMMAND = re.compile(r"\\[A-Za-z]+(?:\s?\{[A-Za-z ]*\})?")
_WORD = re.compile(r"(?<![A-Za-z])[A-Za-z]{2,}(?![A-Za-z])")
_NUMERAL = re.compile(r"\A[-+−–]?[\d.,' ]*\d\Z")
_COUNT = re.compile(r"\A(?:\\text\s?\{\s?)?[-+]?(?:\\?\$)?[\d.,]{1,30}\s(?:\\text\s?\{\s?)?\(?[A-Za-z]{3}")
_PLAIN_WORDS = re.compile(r"\A(?!There\b)[^\\^_{}]*(?:[A-Za-z]{2}|→)[^\\^_{}]*\Z")
_EMPTY_BOX = re.compile(r"\A\\(?:boxed|fbox)\s?\{\s?\}\Z")
_CONTENT = re.compile(r"[^\W_]|\\|[∞√∅]")
_LEADS = re.compile(
    r"(?:\b(?:is|are|was|be|equals|becomes|get|have|obtain|yields|gives)|[:=])\s*\Z", re.IGNORECASE
)
_ASSIGNED = re.compile(r"\A\s?[A-Za-z](?:_\{?\w{1,3}\}?|\([A-Za-z]\))?\s?=[^=]+\Z")
_MATHS = re.compile(
    r"[\d\\^_=+/<>|!√π∞²³½]|(?<=[\w)]) ?\*|\A-?\(?[A-Za-z]{1,2}\)?\Z|\A[A-Za-z]\([A-Za-z]\)\Z"
    r"|\A[(\[]-?[A-Za-z](?:, ?-?[A-Za-z])+[)\]]\Z"
)


class LatexGrader:
    """Canonical form: the tidied source; `equivalent` compares keys, which a process of its own computes."""

    def __init__(self, process: MathProcess) -> None:
        self._process = process

    def read(self, query: Query, text: str, *, truncated: bool) -> Reading:
        value, reason = self._read(text, truncated=truncated)
        return Reading(None if value is None else without_known_base(value, query.question), reason)

    def _read(self, text: str, *, truncated: bool) -> Reading:
        for said in reversed(statements(text, truncated=truncated)):
            if said.denies and said.origin is Origin.LINE:
                return Reading(None, "states no expression")
            value = _of_statement(said)
            if value is not None:
                return Reading(value)
            if said.origin is not Origin.LINE:
                return Reading(None, "states no single expression")
        if truncated:
            return Reading(None, "truncated before a stated answer")
        value = _bare(text)
        return Reading(None, "no stated expression") if value is None else Reading(value)

    def equivalent(self, query: Query, a: str, b: str) -> bool:
        if a == b:
            return True
        one, other = _as_number(a), _as_number(b)
        if one is not None and other is not None:
            return number.close(one, other, query.comparison.tolerance)
        keys = self._key(a), self._key(b)
        if keys[0] == keys[1]:
            return True
        return query.comparison.tolerance > 0 and _are_close(*keys, query.comparison.tolerance)

    def check(self, query: Query, value: str) -> Verdict:
        return Verdict(self.equivalent(query, value, reference_of(query)))

    def _key(self, value: str) -> str:
        """The key of the expression; of one that cannot be read, or not in time, its text."""
        said = words(value) or base_numeral(value)
        if said is not None:
            return f"words {said}"
        key = self._process.key(for_parser(value))
        return f"text {normal(value).replace(' ', '')}" if key is None else key


def reference_of(query: Query) -> str:
    """The reference answer of a query, tidied.

    Raises:
        SkillError: it is no expression.
    """
    text = without_thinking(str(query.answer)) or ""
    said = statements(text)
    value = _of_statement(said[-1]) if said else tidy(text, is_whole=True)
    if value is None:
        raise SkillError(
            f"query '{query.id}': the reference answer '{str(query.answer)[:80]}' is not an expression.",
            param="answer",
            remedy="Write the expression alone, or another answer_type.",
        )
    return without_known_base(value, query.question)


def tidy(said: str, *, is_whole: bool = False) -> str | None:
    """`$\\dfrac{1}{2}$.` -> `\\frac{1}{2}`; None for prose and for what is too long to compare.

    Args:
        is_whole: the text is given as the answer, as in a box: a word is one, too.
    """
    if len(said) > 4 * MAX_CHARS:
        return None
    value = said
    for pattern, replacement in _TIDY:
        value = pattern.sub(replacement, value)
    value = _opened(value.strip())
    is_text = _CONTENT.search(value) and (is_whole or _MATHS.search(value))
    if not is_text or len(value) > MAX_CHARS or _EMPTY_BOX.match(value):
        return None
    return None if _is_prose(value) or value.count("{") != value.count("}") else value


def _opened(value: str) -> str:
    """A formula without the marks of maths that enclose it, and without a final period."""
    for _ in range(4):
        value = (
            value.rstrip(".,;").rstrip() if not value.endswith(("\\.", "\\,", "\\;")) else value[:-2].rstrip()
        )
        for begin, end in (*_ENCLOSED, ('"', '"')):
            inside = value[len(begin) : -len(end)]
            if (
                len(value) > len(begin) + len(end)
                and value.startswith(begin)
                and value.endswith(end)
                and begin not in inside.replace("\\$", "")
            ):
                value = inside.strip()
    return value


def _is_prose(value: str) -> bool:
    """More than two plain words: a sentence that happens to hold a sign or a digit."""
    return len(_WORD.findall(_COMMAND.sub(" ", value))) > MAX_WORDS


def _of_statement(said: Statement) -> str | None:
    """The expression of a statement: all of it, the formula that it begins with, or that of a sentence."""
    is_whole = said.origin is not Origin.LINE
    text = unboxed(said.text)
    segment = _SEGMENT.match(text)
    if segment is not None and not _opened(text).startswith(("$", "\\(")):
        segment = None  # one formula and nothing else
    if segment is not None:
        return tidy(segment["round"] or segment["dollar"], is_whole=True)
    value = tidy(text, is_whole=is_whole)
    if value is not None:
        return _count(value) or value
    if said.marked and (value := tidy(said.marked, is_whole=is_whole)) is not None:
        return value
    return _in_sentence(text)


def _count(value: str) -> str | None:
    """`4 lattice points` -> `4`; None for what is no plain number before words."""
    measure = number_text.stated(value) if _COUNT.match(value) else None
    return None if measure is None else number.canonical(measure.value)


def _in_sentence(text: str) -> str | None:
    """The number that a sentence begins with, the formula to which its verb leads, or its one number."""
    measure = number_text.stated(text, in_prose=True)
    formulas = list(_SEGMENT.finditer(text[: 4 * MAX_CHARS]))
    if measure is None and formulas and not text[formulas[-1].end() :].strip(" .!"):
        last = formulas[-1]
        if _LEADS.search(text[: last.start()]):
            return tidy(last["round"] or last["dollar"], is_whole=True)
    measure = measure or number_text.told(text)
    return None if measure is None else number.canonical(measure.value)


def _bare(text: str) -> str | None:
    """A text that is one expression or ends in a formula of its own, or whose last line concludes one."""
    stripped = unmarked(text.strip())[0]
    if "\n" not in stripped:
        measure = number_text.bare(stripped) if _is_worded(stripped) else None
        value = tidy(unboxed(stripped)) if measure is None else number.canonical(measure.value)
        if value is not None:
            return value
    last = stripped[-4 * MAX_CHARS :].splitlines()[-1].strip() if stripped else ""
    found = _last_formula(stripped[-4 * MAX_CHARS :].rstrip("., "))
    if found is not None:
        return found if _ASSIGNED.match(found) or "=" not in found else None
    rest, shown = unmarked(last)
    if shown and rest.strip(" .") == shown.strip(" ."):
        return tidy(shown)
    return _in_sentence(last) if number_text.concludes(last) else None


def _is_worded(text: str) -> bool:
    """Words beside a number, and nothing of LaTeX."""
    return _PLAIN_WORDS.match(text) is not None


def _last_formula(text: str) -> str | None:
    """The formula on lines of its own that a text ends in; None where it ends otherwise."""
    for begin, end in _ENCLOSED:
        start = text.rfind(begin, 0, -len(end)) if text.endswith(end) else -1
        if start >= 0 and (start == 0 or text[start - 1] == "\n"):
            return tidy(text[start:])
    return None


def _as_number(value: str) -> Fraction | None:
    """A plain number; anything with a unit or a symbol is left to the process."""
    measure = number_text.stated(value) if _NUMERAL.match(value) else None
    return None if measure is None else measure.value


def _are_close(a: str, b: str, tolerance: float) -> bool:
    try:
        return number.close(Fraction(a), Fraction(b), tolerance)
    except (ValueError, ZeroDivisionError):
        return False
