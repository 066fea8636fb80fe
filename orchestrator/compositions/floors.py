"""The floor: where nobody is likely to be right, votes are not passed off as knowledge of the pool's.

Below it the best recruit answers alone, and the answer says that nobody is known to be good at this.
"""

from collections.abc import Iterable

from orchestrator.domain.answers import Answer
from orchestrator.domain.cards import CompetenceCard, Profile, tally
from orchestrator.routing.parts.deck import global_accuracy

SHARE = 0.1
"""Default floor, as a share of the accuracy of the best expert on the profile; docs/decisions/0048."""

NOT_MEASURED = "nobody is known to be good at this: the pool was never measured (muster profile)"


def floor_of(profile: Profile | None) -> float:
    """Confidence below which nobody is known to be good at a question, in [0, 1]; 0 without a profile."""
    if profile is None or not len(profile.outcomes):
        return 0.0
    return SHARE * max(global_accuracy(tally(row)) for row in profile.outcomes.tolist())


def not_measured(cards: Iterable[CompetenceCard]) -> str | None:
    """Note of every answer of a pool without a right or wrong answer on its cards; None = it has some."""
    return None if any(card.total.n for card in cards) else NOT_MEASURED


def is_below(answer: Answer, floor: float) -> bool:
    """True of votes that are less sure than that; an answer that was written, and not voted for, is not."""
    return answer.confidence is not None and answer.confidence < floor and answer.answered_by is not None


def floored(answer: Answer, best: Answer, *, floor: float) -> Answer:
    """The answer in the best recruit's words, and a note that says so. The confidence stays that of the
    votes: no other value is surer.

    Args:
        answer: as the votes have it.
        best: the best recruit's own, of the same responses.
    """
    why = f"confidence {answer.confidence or 0:.3f}, below {floor:.3f}"
    note = f"nobody is known to be good at this ({why}): the best expert that was asked answers"
    return answer.model_copy(
        update={
            "text": best.text,
            "finish_reason": best.finish_reason,
            "value": best.value,
            "answered_by": best.answered_by,
            "notes": (*answer.notes, note),
        }
    )
