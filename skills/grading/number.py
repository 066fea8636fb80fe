"""Numbers: canonical answer = an exact rational in its shortest plain form.

The percent sign is a unit: 50 % and 50 are the same answer, as in the usual data sets; 0.5 is another one.
"""

from fractions import Fraction

from orchestrator.domain.queries import Query
from orchestrator.errors import SkillError
from skills.grading.base import Reading, Verdict
from skills.grading.number_text import BEGINS, Measure, bare, of_statement, stated
from skills.grading.statements import Origin, statements


class NumberGrader:
    """Canonical form: `42`, `-0.5`, or `1/3` when no short decimal exists; `5 km` where units are kept."""

    def read(self, query: Query, text: str, *, truncated: bool) -> Reading:
        for said in reversed(statements(text, truncated=truncated)):
            if said.denies:
                return Reading(None, "states no number")
            measure = of_statement(said)
            if measure is not None:
                return Reading(_canonical(query, measure))
            if said.origin is not Origin.LINE or BEGINS.match(said.text):
                return Reading(None, "states no single number")
        if truncated:
            return Reading(None, "truncated before a stated answer")
        measure = bare(text)
        return Reading(None, "no stated number") if measure is None else Reading(_canonical(query, measure))

    def equivalent(self, query: Query, a: str, b: str) -> bool:
        """Equal within the tolerance; where units are kept, in the same unit, or both without one."""
        one, other = _measure(a), _measure(b)
        return one.unit == other.unit and close(one.value, other.value, query.comparison.tolerance)

    def check(self, query: Query, value: str) -> Verdict:
        """A value without a unit is right in the reference's."""
        reference = reference_of(query)
        answer = _measure(value)
        same_unit = "" in (answer.unit, reference.unit) or answer.unit == reference.unit
        return Verdict(same_unit and close(answer.value, reference.value, query.comparison.tolerance))


def reference_of(query: Query) -> Measure:
    """The reference answer of a query, in its unit where units are kept.

    Raises:
        SkillError: it is no number.
    """
    text = str(query.answer)
    said = statements(text)
    measure = stated(text) or (of_statement(said[-1]) if said else bare(text))
    if measure is None:
        raise SkillError(
            f"query '{query.id}': the reference answer '{str(query.answer)[:80]}' is not a number.",
            param="answer",
            remedy="Write one number, or another answer_type.",
        )
    return _measure(_canonical(query, measure))


def close(a: Fraction, b: Fraction, tolerance: float) -> bool:
    """Equal, or within a relative tolerance of the larger one."""
    return a == b or abs(a - b) <= Fraction(tolerance) * max(abs(a), abs(b))


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


def _canonical(query: Query, measure: Measure) -> str:
    keeps = query.comparison.units == "keep" and measure.unit
    return f"{canonical(measure.value)} {measure.unit}" if keeps else canonical(measure.value)


def _measure(value: str) -> Measure:
    number, _, unit = value.partition(" ")
    return Measure(Fraction(number), unit)
