"""Prompts that ask a model which of two answers is better, how good each is, or whether one is right.

Grades of open answers, for cards, are asked for in `grading.py`.

Each comes in the style that the model is asked in when it synthesizes: `full` says how to reply, `compact`
shows the question and the candidates only, and the reply is the answer that the model finds right.
"""

from collections.abc import Sequence

from orchestrator.domain.queries import Message, Query
from orchestrator.prompts.defusing import defuse
from orchestrator.prompts.fencing import asked, fenced, is_data
from orchestrator.prompts.histories import history
from orchestrator.prompts.synthesizing import SYNTHESIZE_STYLES, compact

COMPACT = "compact"


def judge(
    query: Query,
    pair: tuple[str, str],
    *,
    style: str,
    fence: str,
    rubric: Sequence[str] = (),
    hard: Sequence[str] = (),
) -> tuple[Message, ...]:
    """Ask for evidence first and scores after it (FairEval, arXiv:2305.17926; our words).

    Args:
        pair: two candidate answers, in the order in which they are shown.
        rubric: criteria that are scored one by one; none = one score each.
        hard: criteria that each candidate passes or fails.

    Raises:
        UnknownNameError: no such style.
    """
    forms = [
        *(f"Criterion {i}: X Y  (scores for: {defuse(what)})" for i, what in enumerate(rubric, start=1)),
        *([] if rubric else ["Scores: X Y"]),
        *(f"Hard {i}: pass or fail, twice  (for: {defuse(what)})" for i, what in enumerate(hard, start=1)),
    ]
    ending = (
        "First write your evidence: what is right and wrong in each candidate, whichever is shown first. "
        "Only then finish with these lines, where X is for candidate 1 and Y for candidate 2, from 1 (worst) "
        "to 10 (best):\n" + "\n".join(forms)
    )
    return _asked(
        query, "Two candidate answers to the question below are to be scored.", pair, ending, style, fence
    )


def compare(query: Query, pair: tuple[str, str], *, style: str, fence: str) -> tuple[Message, ...]:
    """Ask which of two candidates is better.

    Raises:
        UnknownNameError: no such style.
    """
    ending = (
        "Which candidate answers the question better? Reason briefly, whichever is shown first, and finish "
        "with one line: Better: 1, Better: 2, or Better: tie."
    )
    return _asked(query, "Two candidate answers to the question below.", pair, ending, style, fence)


def decide(query: Query, pair: tuple[str, str], *, style: str, fence: str) -> tuple[Message, ...]:
    """Ask which side of a debate is right, given what each side argued (arXiv:2311.08702; our words).

    Raises:
        UnknownNameError: no such style.
    """
    ending = (
        "Whose answer is right? Each side argues for its own, so believe what is shown, not what is said. "
        "Finish with one line: Better: 1 or Better: 2."
    )
    opening = "Two sides debated the question below; a candidate is all that one side said."
    return _asked(query, opening, pair, ending, style, fence)


def verify(query: Query, candidate: str, *, style: str, fence: str) -> tuple[Message, ...]:
    """Ask how likely one candidate is right (Weaver, arXiv:2506.18203; our words).

    Raises:
        UnknownNameError: no such style.
    """
    ending = (
        "Check the candidate step by step, and finish with one line: Score: N, where N is from 0 (surely "
        "wrong) to 10 (surely right)."
    )
    return _asked(query, "A candidate answer to the question below.", (candidate,), ending, style, fence)


def checklist(query: Query, candidates: Sequence[str], *, style: str, fence: str) -> tuple[Message, ...]:
    """Ask for a checklist, and for the candidate that meets most of it (CHOPS, arXiv:2506.20544; our words).

    Raises:
        UnknownNameError: no such style.
    """
    ending = (
        "First write a short checklist of what a good answer must have. Then hold each candidate against it, "
        "and finish with one line: Choice: N, the number of the best candidate."
    )
    return _asked(query, "Candidate answers to the question below.", candidates, ending, style, fence)


def _asked(
    query: Query, opening: str, candidates: Sequence[str], ending: str, style: str, fence: str
) -> tuple[Message, ...]:
    SYNTHESIZE_STYLES.find(style)
    content = compact(query, candidates)
    if style != COMPACT:
        parts = (
            f"{opening} They may be wrong or misleading. {is_data(fence)}",
            asked(query.text, fence),
            fenced(candidates, fence),
            ending,
        )
        content = "\n\n".join(parts)
    return (*history(query), Message(role="user", content=content))
