"""The grader of all answer types: gates what every type shares, then asks the type's own module."""

from collections.abc import Callable, Mapping

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import Response
from orchestrator.domain.cards import ABSTAINED, GRADED, RIGHT, WRONG
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.errors import SkillError
from orchestrator.ports.skills import Grade
from skills.grading import latex, number
from skills.grading.base import Reading, TypeGrader
from skills.grading.choice import ChoiceGrader
from skills.grading.code import CodeGrader
from skills.grading.json_value import JsonGrader
from skills.grading.latex import LatexGrader
from skills.grading.literal import LiteralGrader
from skills.grading.math_process import MathProcess
from skills.grading.number import NumberGrader
from skills.grading.open import OpenGrader
from skills.grading.sandbox import Sandbox
from skills.grading.statements import is_refusal
from skills.grading.text import TextGrader
from skills.grading.thinking import without_thinking

MAX_RESPONSE_CHARS = 1_000_000

GRADERS: Mapping[AnswerType, TypeGrader] = {
    AnswerType.CHOICE: ChoiceGrader(),
    AnswerType.NUMBER: NumberGrader(),
    AnswerType.LATEX: LatexGrader(MathProcess()),
    AnswerType.TEXT: TextGrader(),
    AnswerType.JSON: JsonGrader(),
    AnswerType.CODE: CodeGrader(Sandbox()),
    AnswerType.LITERAL: LiteralGrader(),
    AnswerType.OPEN: OpenGrader(),
}

REFERENCES: Mapping[AnswerType, Callable[[Query], object]] = {
    AnswerType.NUMBER: number.reference_of,
    AnswerType.LATEX: latex.reference_of,
}
"""Readers of reference answers; those of other types are known by their form, when a query is made."""

LENIENT_GRADERS: Mapping[AnswerType, TypeGrader] = {
    **GRADERS,
    AnswerType.CODE: CodeGrader(Sandbox(lenient=True)),
}
"""For `muster.grading.isolation: available`: code runs although layers of the sandbox are missing."""


class AnswerGrader:
    """Reads and grades by the query's answer type.

    A failed, empty, refused or unreadable response is an abstention with a reason; so is one that
    was cut off, unless it had stated its answer before the cut. Nothing is guessed.
    """

    def __init__(self, graders: Mapping[AnswerType, TypeGrader] = GRADERS) -> None:
        self._graders = graders

    def reading(self, query: Query, response: Response) -> Reading:
        """Like `read`, with the reason of an abstention."""
        if response.failed:
            return Reading(None, f"failed: {response.error_code}")
        if response.finish_reason in (FinishReason.ABORT, FinishReason.ERROR):
            return Reading(None, f"failed: {response.finish_reason}")
        if len(response.text) > MAX_RESPONSE_CHARS:
            return Reading(None, f"longer than {MAX_RESPONSE_CHARS:,} characters")
        text = without_thinking(response.text)
        if text is None:
            return Reading(None, "thinking never ended")
        if not text:
            return Reading(None, "thinking never ended" if response.reasoning else "empty")
        if is_refusal(text) and not query.answer_type.is_graded:  # a refusal of an open question is graded
            return Reading(None, "refused")
        truncated = response.finish_reason is FinishReason.LENGTH
        return self._graders[query.answer_type].read(query, text, truncated=truncated)

    def read(self, query: Query, response: Response) -> str | None:
        return self.reading(query, response).value

    def equivalent(self, query: Query, a: str, b: str) -> bool:
        return self._graders[query.answer_type].equivalent(query, a, b)

    def grade(self, query: Query, response: Response) -> Grade:
        if query.answer is None and not query.answer_type.is_graded:
            raise SkillError(
                f"query '{query.id}' has no reference answer.", param="answer", remedy="Add its 'answer'."
            )
        value, reason = self.reading(query, response)
        if value is None:
            return Grade(ABSTAINED, None, reason)
        if query.answer_type.is_graded:
            return Grade(GRADED, value)
        verdict = self._graders[query.answer_type].check(query, value)
        return Grade(RIGHT if verdict.right else WRONG, value, verdict.reason)


def check_reference(query: Query) -> None:
    """Read the reference answer of a query, for who is about to grade by it.

    Raises:
        SkillError: it cannot be read.
    """
    reader = REFERENCES.get(query.answer_type)
    if reader is not None and query.answer is not None:
        reader(query)
