"""Graded profiles of open questions, from a rule per expert."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from orchestrator.domain.cards import ABSTAINED, GRADED, CompetenceCard, Profile, Tally, Transcript
from orchestrator.domain.grades import Grades, GradeSource, grade_tally
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.skills import SkillTag


class Said(NamedTuple):
    """An answer and its score; None = not scored."""

    text: str
    score: float | None


Writes = Callable[[int], Said]
"""Number of a question to what the expert says."""

LONG = "Rome grew by its roads. They led from the sea to the hills. Merchants came, and with them the law."
BRIEF = "By roads."
LETTER = Query(id="letter", question="How did Rome grow?", answer_type=AnswerType.OPEN)


def steady(score: float) -> Writes:
    """Always the same long answer with the same score."""
    return lambda i: Said(LONG, score)


def moody(score: float, brief: float, every: int = 5) -> Writes:
    """A long answer with a score, but for each `every`th, which is brief and has another."""
    return lambda i: Said(BRIEF, brief) if i % every == 0 else Said(LONG, score)


def graded_profile(
    experts: Mapping[str, Writes], n: int, *, skill: str = "", with_transcript: bool = True
) -> Profile:
    """n open questions; `skill`: of all of them."""
    said = [[writes(i) for i in range(n)] for writes in experts.values()]
    queries = tuple(
        Query(id=str(i), question=f"Question {i}?", answer_type=AnswerType.OPEN) for i in range(n)
    )
    values = tuple(tuple(one.text or None for one in row) for row in said)
    return Profile(
        expert_ids=tuple(experts),
        query_hashes=tuple(q.content_hash for q in queries),
        texts=tuple(q.text for q in queries),
        skills=((SkillTag(name=skill),) if skill else (),) * n,
        domains=("",) * n,
        outcomes=np.array(
            [[GRADED if one.text else ABSTAINED for one in row] for row in said], dtype=np.int8
        ),
        embeddings=np.tile(np.array([1.0, 0.0], dtype=np.float32), (n, 1)),
        transcript=Transcript(
            queries, values, np.array([[len(one.text) for one in row] for row in said], dtype=np.int32)
        )
        if with_transcript
        else None,
        scores=np.array(
            [[np.nan if one.score is None else one.score for one in row] for row in said], dtype=np.float32
        ),
    )


NO_OUTCOMES = Tally()


def graded_card(expert_id: str, *scores: float, total: Tally = NO_OUTCOMES) -> CompetenceCard:
    """A card of the scores of open questions, and of the outcomes of exact ones."""
    grades = Grades(source=GradeSource.RUBRIC, total=grade_tally(scores)) if scores else None
    return CompetenceCard(
        expert_id=expert_id,
        fingerprint=expert_id,
        profile_hash="p",
        outcomes_hash="o",
        total=total,
        skills={},
        graded=grades,
    )
