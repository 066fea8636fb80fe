"""Tallies of scores: hand-worked posteriors, and the laws of their intervals."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.cards import shrunk_posterior, tally
from orchestrator.domain.grades import GradeTally, grade_tally, lengths_of, summed_grades

SCORES = st.lists(st.floats(0, 1), max_size=40)


def test_a_posterior_by_hand() -> None:
    counted = grade_tally([0.4, 0.8])
    assert (counted.n, counted.total, counted.squares) == (2, pytest.approx(1.2), pytest.approx(0.8))
    p = 3.2 / 6
    deviations = (0.4 - p) ** 2 + (0.8 - p) ** 2
    v = (deviations + 20 * p * (1 - p)) / 22
    made = counted.posterior(0.5)
    assert made.mean == pytest.approx(p)
    assert made.n == 2
    assert 6 * p * (1 - p) / v > 6  # scores that spread less than coin tosses tell more
    assert made.low < p < made.high


def test_nothing_scored_is_the_prior() -> None:
    assert GradeTally().mean == 0
    assert GradeTally().posterior(0.3).mean == pytest.approx(0.3)


@pytest.mark.parametrize("n_right", [0, 3, 10])
def test_scores_of_0_and_1_are_outcomes(n_right: int) -> None:
    ones_and_zeros = [1.0] * n_right + [0.0] * (10 - n_right)
    graded = grade_tally(ones_and_zeros).posterior(0.5)
    outcomes = shrunk_posterior(tally([int(s) for s in ones_and_zeros]), prior_mean=0.5)
    assert graded.mean == pytest.approx(outcomes.mean)
    # Never wider than the Beta of as many outcomes; narrower at most by what the spread's prior allows.
    assert graded.high - graded.low <= outcomes.high - outcomes.low + 1e-9


@given(SCORES, st.floats(0, 1))
def test_the_interval_holds_the_mean(scores: list[float], prior: float) -> None:
    made = grade_tally(scores).posterior(prior)
    assert 0 <= made.low <= made.mean <= made.high <= 1


@given(st.floats(0.05, 0.95), st.integers(1, 30))
def test_scores_that_agree_give_a_narrower_interval_than_outcomes(score: float, n: int) -> None:
    alike = grade_tally([score] * (2 * n)).posterior(score)
    mixed = grade_tally([min(2 * score, 1.0), max(2 * score - 1, 0.0)] * n).posterior(score)
    assert alike.mean == pytest.approx(mixed.mean)
    assert alike.high - alike.low <= mixed.high - mixed.low + 1e-9


@given(SCORES, st.randoms(use_true_random=False))
def test_the_order_of_scores_and_of_parts_does_not_matter(scores: list[float], rng: random.Random) -> None:
    shuffled = rng.sample(scores, len(scores))
    assert grade_tally(shuffled) == grade_tally(scores)
    parts = [grade_tally(scores[::2]), grade_tally(scores[1::2])]
    assert summed_grades(parts).mean == pytest.approx(grade_tally(scores).mean)
    assert summed_grades(parts[::-1]) == summed_grades(parts)


def test_a_score_that_fades_counts_as_part_of_one() -> None:
    halved = grade_tally([0.8]).scaled(0.5)
    assert (halved.n, halved.mean) == (0.5, pytest.approx(0.8))
    assert halved.posterior(0.5).mean == pytest.approx((2 + 0.4) / 4.5)


def test_lengths_are_logarithms_of_characters() -> None:
    """Of 0, 9 and 99 characters: ln 1, ln 10, ln 100."""
    found = lengths_of([99, 0, 9])
    assert found is not None
    assert found.mean == pytest.approx(math.log(10), abs=1e-6)
    assert found.median == pytest.approx(math.log(10), abs=1e-6)
    assert found.low < found.fifth < found.median < found.high
    assert lengths_of([]) is None


def test_equal_texts_have_one_length() -> None:
    found = lengths_of([7] * 5)
    assert found is not None
    assert {found.mean, found.low, found.fifth, found.median, found.high} == {round(math.log(8), 6)}
