"""Open questions in compositions: what is known of graded answers, and which parts answer.

A composition that votes has nothing to count where an answer is neither right nor wrong: its open questions
are answered as the composition `open` does, with a note. One whose aggregator handles prose keeps it, and its
router, if that can go by grades.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from orchestrator.compositions.knowledge import Knowledge
from orchestrator.compositions.stock import STOCK_COMPOSITIONS
from orchestrator.domain.answers import Answer, ExpectedGrade
from orchestrator.domain.cards import CompetenceCard, Profile, Tally
from orchestrator.domain.grades import Grades, GradeSource, GradeTally, grade_tally
from orchestrator.domain.names import AUTO, OPEN
from orchestrator.routing import GRADED_ROUTERS
from orchestrator.routing.graded import pool_mean
from orchestrator.settings.schema import CompositionSettings

_DEFAULT_K = 3


class OpenSettings(NamedTuple):
    """Settings by which a composition answers open questions, and the note that says what was changed."""

    spec: CompositionSettings
    note: str | None = None


def open_settings(name: str, spec: CompositionSettings, *, reads_prose: bool) -> OpenSettings:
    """Settings by which a composition answers open questions, and a note where they are not its own.

    Args:
        reads_prose: the aggregator of `spec` handles answers that are neither right nor wrong.
    """
    if not reads_prose:
        n = {"k": spec.router_options["k"]} if "k" in spec.router_options else {}
        keeps = {"experts": spec.experts, "temperature": spec.temperature, "router_options": n}
        handed = STOCK_COMPOSITIONS[OPEN].model_copy(update=keeps)
        if name == AUTO and spec.router == STOCK_COMPOSITIONS[AUTO].router:
            return OpenSettings(handed)
        why = f"aggregator '{spec.aggregator}' votes, and an open question has no votes"
        return OpenSettings(handed, f"{why}: answered as composition '{OPEN}' does")
    plain = {"abstain_below": None, "waves": None}
    if spec.router in GRADED_ROUTERS:
        return OpenSettings(spec.model_copy(update=plain))
    options = spec.router_options
    at_once = options.get("first", options.get("k", _DEFAULT_K))
    by_grades = {"router": "graded", "router_options": {"k": at_once, "first": at_once}, **plain}
    note = f"router '{spec.router}' counts right answers, and an open question has none: 'graded' recruited"
    return OpenSettings(spec.model_copy(update=by_grades), note)


def open_knowledge(known: Knowledge) -> Knowledge:
    """Knowledge of answers to open questions, in the form in which routers know accuracies: a mean grade of
    .6 over ten questions counts as six right and four wrong answers.

    Where nothing was graded, what is known of exact questions is the best there is.
    """
    part = None if known.profile is None else known.profile.open
    of_profile = {} if part is None or part.scores is None else _counted(part)
    graded = {i: card.graded or of_profile.get(i) for i, card in known.cards.items()}
    if not any(grades is not None and grades.total.n for grades in graded.values()):
        return known
    as_known = {i: _as_accuracies(card, graded[i]) for i, card in known.cards.items()}
    return Knowledge(as_known, known.profile if part is None else part)


def _counted(part: Profile) -> dict[str, Grades]:
    """Grades by expert id, of scores whose source nobody told."""
    assert part.scores is not None, "checked by the caller"
    found = {}
    for expert_id, scores in zip(part.expert_ids, part.scores.astype(np.float64).tolist(), strict=True):
        known = [(column, score) for column, score in enumerate(scores) if not math.isnan(score)]
        found[expert_id] = Grades(
            source=GradeSource.IMPORTED,
            total=grade_tally(score for _, score in known),
            skills=_by_name((tag.name, score) for column, score in known for tag in part.skills[column]),
        )
    return found


def _by_name(scores: Iterable[tuple[str, float]]) -> dict[str, GradeTally]:
    by_name: dict[str, list[float]] = {}
    for name, score in scores:
        by_name.setdefault(name, []).append(score)
    return {name: grade_tally(values) for name, values in sorted(by_name.items())}


def _as_accuracies(card: CompetenceCard, grades: Grades | None) -> CompetenceCard:
    graded = grades or Grades(source=GradeSource.IMPORTED)
    return card.replaced(
        total=as_tally(graded.total),
        skills={name: as_tally(tally) for name, tally in graded.skills.items()},
        domains={name: as_tally(tally) for name, tally in graded.domains.items()},
        feedback=Tally(),
        feedback_skills={},
        graded=graded,
    )


def as_tally(grades: GradeTally) -> Tally:
    """Grades as counts of right and wrong answers with the same mean."""
    return Tally(n_right=grades.total, n_wrong=max(grades.n - grades.total, 0.0))


def expected_grade(expert_id: str | None, cards: Mapping[str, CompetenceCard]) -> ExpectedGrade | None:
    """Grade to expect of an expert's answer; None where it was not graded, or the words are nobody's."""
    grades = None if expert_id is None or expert_id not in cards else cards[expert_id].graded
    if grades is None or not grades.total.n:
        return None
    prior = pool_mean(_totals(cards.values()))
    mean, low, high, n = grades.total.posterior(prior)
    return ExpectedGrade(mean=mean, low=low, high=high, n=n, source=grades.source.value)


def _totals(cards: Iterable[CompetenceCard]) -> Sequence[GradeTally]:
    return [card.graded.total for card in cards if card.graded is not None]


def as_open(answer: Answer, cards: Mapping[str, CompetenceCard], *, note: str | None) -> Answer:
    """An answer to an open question as it is told: no confidence and no votes; the grade to expect, if an
    expert's words are the answer."""
    grade = answer.expected_grade
    if grade is None and answer.error_code is None:
        grade = expected_grade(answer.answered_by, cards)
    notes = answer.notes if note is None else (*answer.notes, note)
    changes = {"confidence": None, "votes": (), "expected_grade": grade, "notes": notes}
    return answer.model_copy(update=changes)
