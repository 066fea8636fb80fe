"""Profiles with exact and open questions: each kind is learnt from apart."""

import math

import numpy as np

from orchestrator.domain.cards import ABSTAINED, GRADED, RIGHT, UNKNOWN, WRONG, Profile, Transcript
from orchestrator.domain.queries import AnswerType, Query

EXACT = Query(id="sum", question="1 + 1?", answer="2", answer_type=AnswerType.NUMBER)
OPEN = Query(id="letter", question="Write to Ada.", answer_type=AnswerType.OPEN)


def profile(
    outcomes: list[list[int]], scores: list[list[float]] | None, *queries: Query, with_transcript: bool = True
) -> Profile:
    n_experts, n = np.array(outcomes).shape
    values = tuple(tuple(f"{e}.{q}" for q in range(n)) for e in range(n_experts))
    return Profile(
        expert_ids=tuple(f"e{i}" for i in range(n_experts)),
        query_hashes=tuple(q.content_hash for q in queries),
        texts=tuple(q.text for q in queries),
        skills=((),) * n,
        domains=tuple(q.id for q in queries),
        outcomes=np.array(outcomes, dtype=np.int8),
        embeddings=np.eye(n, dtype=np.float32),
        transcript=Transcript(queries, values, np.ones((n_experts, n), dtype=np.int32), values)
        if with_transcript
        else None,
        scores=None if scores is None else np.array(scores, dtype=np.float32),
    )


MIXED = profile([[GRADED, RIGHT], [ABSTAINED, WRONG]], [[0.7, math.nan], [0.0, math.nan]], OPEN, EXACT)


def test_the_exact_part_has_the_exact_questions_in_all_that_it_holds() -> None:
    part = MIXED.exact
    assert part is not None
    assert part.texts == (EXACT.text,)
    assert part.domains == ("sum",)
    assert part.outcomes.tolist() == [[RIGHT], [WRONG]]
    assert part.embeddings.tolist() == [[0.0, 1.0]]
    assert part.transcript is not None
    assert part.transcript.values == (("0.1",), ("1.1",))
    assert part.transcript.texts == (("0.1",), ("1.1",))


def test_the_open_part_has_the_scores() -> None:
    part = MIXED.open
    assert part is not None
    assert part.texts == (OPEN.text,)
    assert part.scores is not None
    assert np.allclose(part.scores, [[0.7], [0.0]])


def test_a_profile_of_one_kind_is_its_own_part() -> None:
    exact = profile([[RIGHT]], None, EXACT)
    assert exact.exact is exact
    assert exact.open is None
    unscored = profile([[GRADED]], None, OPEN)
    assert unscored.open is unscored
    assert unscored.exact is None


def test_the_parts_are_made_once_so_that_fits_are_found_again() -> None:
    assert MIXED.exact is MIXED.exact


def test_without_a_transcript_outcomes_and_scores_tell_the_kinds_apart() -> None:
    by_outcome = profile([[GRADED, RIGHT], [UNKNOWN, WRONG]], None, OPEN, EXACT, with_transcript=False)
    assert by_outcome.is_open.tolist() == [True, False]
    silent = profile([[ABSTAINED, ABSTAINED]], [[0.0, math.nan]], OPEN, EXACT, with_transcript=False)
    assert silent.is_open.tolist() == [True, False]
