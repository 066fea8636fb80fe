"""Worked by hand: Beta(1, 1) is uniform, so its central 90 % interval is (0.05, 0.95)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.cards import (
    ABSTAINED,
    RIGHT,
    UNKNOWN,
    WRONG,
    CompetenceCard,
    Tally,
    measured_version,
    shrunk_posterior,
    tally,
)
from orchestrator.domain.grades import Grades, GradeSource, grade_tally
from orchestrator.domain.posteriors import beta_interval

COUNTS = st.integers(min_value=0, max_value=500)


def test_outcomes_are_counted_and_unknown_ones_are_not() -> None:
    assert tally([RIGHT, RIGHT, WRONG, ABSTAINED, UNKNOWN]) == Tally(n_right=2, n_wrong=1, n_abstain=1)


def test_the_paper_score_counts_an_abstention_as_not_right() -> None:
    assert Tally(n_right=5, n_wrong=2, n_abstain=1).paper_score == 2


def test_the_interval_of_the_uniform_distribution() -> None:
    low, high = beta_interval(1, 1)

    assert low == pytest.approx(0.05)
    assert high == pytest.approx(0.95)


def test_shrinkage_adds_the_prior_as_pseudo_counts() -> None:
    # prior mean 0.5, strength 4 = Beta(2, 2); 6 right, 2 wrong -> Beta(8, 4), mean 8/12
    posterior = shrunk_posterior(Tally(n_right=6, n_wrong=2), prior_mean=0.5)

    assert posterior.mean == pytest.approx(8 / 12)
    assert posterior.n == 8


@given(right=COUNTS, wrong=COUNTS, prior=st.floats(0, 1))
def test_the_mean_lies_inside_its_interval_and_between_prior_and_data(
    right: int, wrong: int, prior: float
) -> None:
    counts = Tally(n_right=right, n_wrong=wrong)

    mean, low, high, _ = shrunk_posterior(counts, prior_mean=prior)

    centre = min(max(prior, 0.01), 0.99)
    data = counts.accuracy if counts.n else centre
    assert 0 <= low <= high <= 1
    assert min(centre, data) - 1e-9 <= mean <= max(centre, data) + 1e-9


@given(right=COUNTS, wrong=COUNTS)
def test_more_data_of_the_same_kind_narrows_the_interval(right: int, wrong: int) -> None:
    few = shrunk_posterior(Tally(n_right=right + 1, n_wrong=wrong + 1), prior_mean=0.5)
    many = shrunk_posterior(Tally(n_right=9 * (right + 1), n_wrong=9 * (wrong + 1)), prior_mean=0.5)

    assert many.high - many.low < few.high - few.low


def test_a_card_without_grades_has_the_hash_that_it_always_had() -> None:
    """Pinned before there were grades: exported decks carry it."""
    card = CompetenceCard(
        expert_id="a",
        fingerprint="f",
        profile_hash="p",
        outcomes_hash="o",
        total=Tally(n_right=3, n_wrong=1),
        skills={"algebra": Tally(n_right=3, n_wrong=1)},
    )
    assert card.hash == "f6f6bfab03a8ff63"
    assert card.replaced(feedback=Tally(n_right=1)).hash == "cfa13ca7c450b101"


def test_grades_are_part_of_what_was_measured_and_what_users_say_is_not() -> None:
    card = CompetenceCard(
        expert_id="a", fingerprint="f", profile_hash="p", outcomes_hash="o", total=Tally(), skills={}
    )
    graded = card.replaced(graded=Grades(source=GradeSource.IMPORTED, total=grade_tally([0.5])))
    again = card.replaced(graded=Grades(source=GradeSource.IMPORTED, total=grade_tally([0.6])))
    assert len({card.hash, graded.hash, again.hash}) == 3
    assert len({measured_version({"a": c}) for c in (card, graded, again)}) == 3
    praised = graded.replaced(feedback_grades=grade_tally([1.0]))
    assert praised.hash != graded.hash
    assert measured_version({"a": praised}) == measured_version({"a": graded})
    assert praised.without_feedback == graded
