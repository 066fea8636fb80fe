"""Numbers: canonical answer = an exact rational in its shortest plain form.

Units after a number are ignored, and so is the percent sign: 50 % and 50 are the same answer, as in
the usual data sets; 0.5 is another one.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from orchestrator.domain.queries import Query
from orchestrator.errors import SkillError
from skills.grading.base import Reading, Verdict
from skills.grading.statements import statements, unboxed, without_emphasis

RELATIVE_TOLERANCE = Fraction(1, 1_000_000)
MAX_CHARS = 120
MAX_EXPONENT = 100

_LATEX = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}"), r"\1/\2"),
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}"), r" \1"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[,;!: ]|\\\(|\\\)|\\\[|\\\]|\\?\$|~"), ""),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"(?<=\d)\s*(?:\\times|\\cdot|×|x|\*)\s*10\s*\^\s*(?:\{\s*)?([-+−]?\d+)(?:\s*\})?"), r"e\1"),
    (re.compile(r"[−–](?=\s?[\d.])"), "-"),
)
_NUMBER = re.compile(
    r"\A(?P<sign>[-+]?)\s*(?:[€£¥]\s*)?(?P<digits>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:[eE](?P<exponent>[-+]?\d+)(?![\w.]))?(?:\s*/\s*(?P<sign2>[-+]?)(?P<below>\d+(?:\.\d+)?))?"
)
_GLUED = re.compile(r"^(?:[eE][-+]?\d|[,.:/^*+=-]\s?\d|[\^*+=(×]|\s+[-+*/×^=]\s*\S|,\d)")
_CLAUSE_END = re.compile(r"[.;,(!?]|\b(?:because|since|as|which|so|for)\b", re.IGNORECASE)
_POWER_UNIT = re.compile(r"(?<![A-Za-zµ°])[A-Za-zµ°]+\^?\{?-?\d\}?")
_VERB = re.compile(r"\b(?:is|are|equals)\b", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]{2}")
_DIGIT = re.compile(r"\d")
_OR = re.compile(r"\A\s*(?:or|and|to)\b", re.IGNORECASE)
_NEXT = re.compile(r"\A\s*,\s*\d")
_LEAD = re.compile(r"^(?:[=≈:]|about\b|approximately\b|roughly\b|exactly\b|equal to\b)\s*", re.IGNORECASE)


class _Parsed(NamedTuple):
    value: Fraction
    rest: str


class NumberGrader:
    """Canonical form: `42`, `-0.5`, or `1/3` when no short decimal exists."""

    def read(self, _query: Query, text: str, *, truncated: bool) -> Reading:
        plain = without_emphasis(text)
        for said in reversed(statements(plain, truncated=truncated)):
            if said.denies:
                return Reading(None, "states no number")
            value = stated_number(unboxed(said.text))
            if value is not None:
                return Reading(canonical(value))
        if truncated:
            return Reading(None, "truncated before a stated answer")
        value = _bare(plain)
        return Reading(None, "no stated number") if value is None else Reading(canonical(value))

    def equivalent(self, _query: Query, a: str, b: str) -> bool:
        return close(Fraction(a), Fraction(b))

    def check(self, query: Query, value: str) -> Verdict:
        reference = stated_number(str(query.answer))
        if reference is None:
            raise SkillError(
                f"query '{query.id}': the reference answer '{query.answer}' is not a number.", param="answer"
            )
        return Verdict(close(Fraction(value), reference))


def close(a: Fraction, b: Fraction) -> bool:
    """Equal for two integers, else within a relative 1e-6."""
    if a.denominator == b.denominator == 1:
        return a == b
    return abs(a - b) <= RELATIVE_TOLERANCE * max(abs(a), abs(b))


def canonical(value: Fraction) -> str:
    """`Fraction(84, 2)` -> "42", `Fraction(1, 2)` -> "0.5", `Fraction(1, 3)` -> "1/3"."""
    shift = 0
    while shift <= 30 and (value * 10**shift).denominator != 1:
        shift += 1
    if shift > 30:
        return str(value)
    digits = str(abs(int(value * 10**shift))).rjust(shift + 1, "0")
    sign = "-" if value < 0 else ""
    return sign + (f"{digits[:-shift]}.{digits[-shift:]}" if shift else digits)


def stated_number(said: str) -> Fraction | None:
    """The one number that a statement gives; None when it gives none, several, or a formula."""
    parsed = _parse(_LEAD.sub("", _after_equals(_plain_number(said))))
    if parsed is None or not _is_unit(parsed.rest):
        return None
    return parsed.value


def _plain_number(text: str) -> str:
    plain = text.strip()
    for pattern, replacement in _LATEX:
        plain = pattern.sub(replacement, plain)
    return plain.strip(" \"'()[]")


def _after_equals(text: str) -> str:
    """`6 * 7 = 42` -> `42`; an equation after the number ("42 because 6*7 = 42") stays."""
    head, sign, tail = text.rpartition("=")
    formula = not _WORD.search(head)
    return tail.strip() if sign and formula else text


def _parse(text: str) -> _Parsed | None:
    match = _NUMBER.match(text)
    if match is None or len(match.group()) > MAX_CHARS:
        return None
    exponent = int(match["exponent"] or 0)
    below = Fraction(match["below"] or 1)
    rest = text[match.end() :]
    if abs(exponent) > MAX_EXPONENT or below == 0 or _GLUED.match(rest):
        return None
    value = Fraction(match["digits"].replace(",", "")) * Fraction(10) ** exponent / below
    negative = (match["sign"] == "-") != (match["sign2"] == "-")
    return _Parsed(-value if negative else value, rest)


def _is_unit(rest: str) -> bool:
    """Up to the end of the clause: a few words without a further number."""
    clause = _POWER_UNIT.sub("u", _CLAUSE_END.split(rest, maxsplit=1)[0])
    goes_on = _OR.match(rest) or _NEXT.match(rest) or _DIGIT.search(clause)
    return not goes_on and len(clause.split()) <= 6


def _bare(text: str) -> Fraction | None:
    """A text that is a number with its unit, or whose last line ends in "= 42" or "is 42 km"."""
    whole = stated_number(text) if len(text) <= 2 * MAX_CHARS and "\n" not in text else None
    if whole is not None:
        return whole
    *_, last_line = text.strip().splitlines() or [""]
    last = _plain_number(last_line[-4 * MAX_CHARS :])
    conclusion = _concluded(last.rstrip("."))
    return None if conclusion is None else stated_number(conclusion)


def _concluded(line: str) -> str | None:
    """What a line comes to: the rest after its last sign of equality, else after its first verb."""
    at = max(line.rfind("="), line.rfind("≈"))
    if at >= 0:
        return line[at + 1 :].lstrip()
    verb = _VERB.search(line)
    return line[verb.end() :].lstrip() if verb else None
