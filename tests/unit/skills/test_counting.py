"""Cards and profiles of mixed question sets: exact answers are counted, open ones have scores."""

import math

import numpy as np
import pytest

from orchestrator.domain.cards import ABSTAINED, GRADED, RIGHT, WRONG, Tally
from orchestrator.domain.grades import GradeSource, GradeTally
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.skills import SkillTag
from orchestrator.ports.cards import OutcomeRow
from skills.counting import Scores, count_card, profile_of, profile_set
from tests.fakes.profiling import make_expert

SUM = Query(id="sum", question="1 + 1?", answer="2", answer_type=AnswerType.NUMBER, domain="maths")
LETTER = Query(id="letter", question="Write to Ada.", answer_type=AnswerType.OPEN, domain="prose")
POEM = Query(id="poem", question="Write a poem.", answer_type=AnswerType.OPEN, domain="prose")
WRITING, SUMS = SkillTag(name="writing"), SkillTag(name="sums")
PROFILE = profile_set([SUM, LETTER, POEM], [(SUMS,), (WRITING,), (WRITING, SUMS)])
ADA = make_expert("ada")


def row(query: Query, outcome: int, text: str = "words") -> OutcomeRow:
    value = None if outcome == ABSTAINED else text
    return OutcomeRow(ADA.fingerprint, query.content_hash, outcome, value, text, 3, 10.0)


def rows(*of: OutcomeRow) -> dict[str, OutcomeRow]:
    return {one.query_hash: one for one in of}


def scores(**by_id: float) -> Scores:
    hashes = {q.id: q.content_hash for q in PROFILE.queries}
    return Scores(GradeSource.RUBRIC, "eve", {hashes[i]: score for i, score in by_id.items()})


ALL = rows(row(SUM, RIGHT), row(LETTER, GRADED, "Dear Ada"), row(POEM, GRADED, "Ada, oh Ada"))


def test_a_mixed_profile_has_counts_and_grades_and_neither_in_the_other() -> None:
    card = count_card(ADA, PROFILE, ALL, scores=scores(letter=0.25, poem=0.75))
    assert card.total == Tally(n_right=1)
    assert card.skills == {"sums": Tally(n_right=1)}
    assert card.domains == {"maths": Tally(n_right=1)}
    graded = card.graded
    assert graded is not None
    assert (graded.source, graded.judge) == (GradeSource.RUBRIC, "eve")
    assert graded.total == GradeTally(n=2, total=1.0, squares=0.0625 + 0.5625)
    assert graded.skills == {"sums": GradeTally(n=1, total=0.75, squares=0.5625), "writing": graded.total}
    assert graded.domains == {"prose": graded.total}
    assert graded.lengths is not None
    assert graded.lengths.mean == pytest.approx((math.log(9) + math.log(12)) / 2, abs=1e-6)


def test_an_abstention_has_score_0_and_no_length_and_is_no_abstention_of_exact_questions() -> None:
    of = rows(row(SUM, WRONG), row(LETTER, ABSTAINED, ""), row(POEM, GRADED))
    card = count_card(ADA, PROFILE, of, scores=scores(letter=0.9, poem=0.6))
    assert card.total == Tally(n_wrong=1)
    assert card.graded is not None
    assert card.graded.total == GradeTally(n=2, total=0.6, squares=0.36)
    assert card.graded.n_abstain == 1
    assert card.graded.lengths is not None
    assert card.graded.lengths.mean == pytest.approx(math.log(6), abs=1e-6)


def test_what_nobody_scored_counts_nowhere_and_is_told() -> None:
    card = count_card(ADA, PROFILE, ALL, scores=scores(poem=0.5))
    assert card.graded is not None
    assert (card.graded.total.n, card.graded.n_unscored) == (1, 1)


def test_without_any_score_there_are_no_grades() -> None:
    assert count_card(ADA, PROFILE, ALL).graded is None
    assert count_card(ADA, PROFILE, ALL, scores=scores()).graded is None
    half = rows(row(LETTER, ABSTAINED, ""), row(POEM, GRADED))
    assert count_card(ADA, PROFILE, half, scores=scores()).graded is None, "0 alone would mislead"


def test_an_expert_that_says_nothing_is_graded_0() -> None:
    silent = rows(row(LETTER, ABSTAINED, ""), row(POEM, ABSTAINED, ""))
    card = count_card(ADA, PROFILE, silent, scores=scores())
    assert card.graded is not None
    assert card.graded.total == GradeTally(n=2)
    assert card.graded.lengths is None


def test_the_order_of_the_questions_does_not_change_the_card() -> None:
    turned = profile_set(PROFILE.queries[::-1], PROFILE.skills[::-1])
    given = scores(letter=0.1, poem=0.7)
    assert count_card(ADA, turned, ALL, scores=given).hash == count_card(ADA, PROFILE, ALL, scores=given).hash


def test_a_profile_has_a_score_where_there_is_one_and_nan_elsewhere() -> None:
    """Ada's letter scored, her poem not; Bob was silent at the letter, and never asked for the poem."""
    bob = [row(SUM, RIGHT), row(LETTER, ABSTAINED, ""), None]
    made = profile_of(
        ("ada", "bob"),
        PROFILE,
        [[ALL[q.content_hash] for q in PROFILE.queries], bob],
        embeddings=np.eye(3, dtype=np.float32),
        scores=[scores(letter=0.25).by_hash, {}],
    )
    assert made.scores is not None
    assert np.array_equal(made.scores, [[np.nan, 0.25, np.nan], [np.nan, 0.0, np.nan]], equal_nan=True)
    unscored = profile_of(("ada",), PROFILE, [bob], embeddings=np.eye(3, dtype=np.float32))
    assert unscored.scores is None
