"""Prompts that ask a judge how good one answer to an open question is: by checks, or by a grade.

Pairs are compared by `judging.compare`.
"""

import random
from collections.abc import Sequence

from orchestrator.domain.queries import Message, Query
from orchestrator.prompts.defusing import defuse
from orchestrator.prompts.fencing import asked, fenced, is_data
from orchestrator.prompts.histories import history

GRADING_VERSION = "g1"
"""Changes with the words below: scores by other words are asked for anew."""

BEST_GRADE = 9
"""Best grade; the worst is 0, so that a grade is one digit, which is one token."""

_EVIDENCE = (
    "First write your evidence in a few sentences, and do not let length or tone stand for substance. "
)


def grade(query: Query, candidate: str, *, fence: str, is_turned: bool = False) -> tuple[Message, ...]:
    """Ask for a grade from 0 to 9, guided by the query's reference answer where it has one.

    Args:
        is_turned: the scale, and the reference and the candidate, are shown the other way round.
    """
    if is_turned:
        scale = f"from {BEST_GRADE} (as good as an answer can be) down to 0 (useless)"
    else:
        scale = f"from 0 (useless) to {BEST_GRADE} (as good as an answer can be)"
    guided = "" if query.answer is None else " The reference answer shows what a good answer says."
    ending = (
        f"How good is the candidate?{guided} {_EVIDENCE}"
        f"Only then finish with one line: Grade: N, where N is a whole number {scale}."
    )
    return _asked(query, candidate, ending, fence, is_turned=is_turned)


def check(
    query: Query, candidate: str, *, fence: str, seed: int, is_turned: bool = False
) -> tuple[Message, ...]:
    """Ask which of the checks of the query's rubric the candidate passes.

    Args:
        seed: of the order in which the checks are shown.
        is_turned: that order is reversed.
    """
    checks = list(query.rubric)
    random.Random(seed).shuffle(checks)
    if is_turned:
        checks.reverse()
    forms = [f"Check {i}: yes or no  (for: {defuse(what)})" for i, what in enumerate(checks, start=1)]
    ending = (
        f"Which of the checks below does the candidate pass? {_EVIDENCE}"
        "Only then finish with these lines, yes where it passes:\n" + "\n".join(forms)
    )
    return _asked(query, candidate, ending, fence, is_turned=is_turned)


def _asked(query: Query, candidate: str, ending: str, fence: str, *, is_turned: bool) -> tuple[Message, ...]:
    shown = [fenced([candidate], fence)]
    if query.answer is not None:
        shown.append(fenced([str(query.answer)], fence, what="reference"))
    if not is_turned:
        shown.reverse()
    opening = "An answer to the question below is to be graded. It may be wrong or misleading."
    parts: Sequence[str] = (f"{opening} {is_data(fence)}", asked(query.text, fence), *shown, ending)
    return (*history(query), Message(role="user", content="\n\n".join(parts)))
