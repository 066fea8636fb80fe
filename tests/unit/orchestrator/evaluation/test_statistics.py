import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.evaluation.statistics import (
    accuracy,
    bootstrap_mean,
    calibration_bins,
    calibration_error,
    clustered_mean,
    oracle,
    paired_difference,
    wilson_interval,
)

outcomes = st.lists(st.booleans(), min_size=1, max_size=60)


def test_interval_of_an_accuracy_is_about_two_standard_errors_wide() -> None:
    """p = .6, n = 600: standard error .02, so .6 ± .0392."""
    estimate = accuracy([True] * 360 + [False] * 240)
    assert estimate.value == 0.6
    assert estimate.low == pytest.approx(0.6 - 0.0392, abs=0.004)
    assert estimate.high == pytest.approx(0.6 + 0.0392, abs=0.004)


def test_pairing_removes_what_both_methods_share() -> None:
    """400 queries, 20 won and 0 lost: .05; standard error sqrt(.05·.95/400) = .0109, not .03 as unpaired."""
    baseline = np.arange(400) < 200
    ours = baseline | ((np.arange(400) >= 200) & (np.arange(400) < 220))
    estimate = paired_difference(ours, baseline)
    assert estimate.value == pytest.approx(0.05)
    assert estimate.low == pytest.approx(0.05 - 1.96 * math.sqrt(0.05 * 0.95 / 400), abs=0.004)
    assert estimate.low > 0


def test_means_of_many_valued_data_are_bootstrapped_too() -> None:
    """0..99: mean 49.5, standard error 28.87/10."""
    estimate = bootstrap_mean(range(100))
    assert estimate.value == 49.5
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * 2.887, rel=0.08)


def test_the_same_seed_gives_the_same_interval_and_another_seed_a_near_one() -> None:
    right = [True, False, True] * 50
    assert accuracy(right, seed=1) == accuracy(right, seed=1)
    assert accuracy(right, seed=2).low == pytest.approx(accuracy(right, seed=1).low, abs=0.02)


@given(outcomes)
def test_the_interval_holds_the_value(right: list[bool]) -> None:
    estimate = accuracy(right)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@given(outcomes)
def test_a_method_does_not_differ_from_itself(right: list[bool]) -> None:
    assert paired_difference(right, right) == (0, 0, 0)


def test_the_oracle_is_right_where_anyone_is() -> None:
    assert oracle([[True, False, False, False], [True, True, False, False]]).value == 0.5


def test_calibration_error_by_hand() -> None:
    """Halves: stated .2, right 0 of 2: gap .2; stated .8, right 1 of 2: gap .3; mean .25."""
    assert calibration_error([0.8, 0.2, 0.8, 0.2], [True, False, False, False], bins=2) == pytest.approx(0.25)


def test_perfect_confidence_has_no_calibration_error() -> None:
    assert calibration_error([0.0, 1.0, 1.0], [False, True, True], bins=10) == 0


@pytest.mark.parametrize(("confidence", "right"), [([], []), ([0.5], [True, False])])
def test_confidences_without_outcomes_are_refused(confidence: list[float], right: list[bool]) -> None:
    with pytest.raises(ValueError, match="as many confidences as outcomes"):
        calibration_error(confidence, right)


def test_outcomes_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        paired_difference([True], [True, False])


def test_no_outcomes_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no values"):
        accuracy([])


def test_answers_to_one_question_are_resampled_together() -> None:
    """300 questions answered three times alike carry the evidence of 300, not of 900."""
    once = [1.0] * 180 + [0.0] * 120
    thrice = clustered_mean(once * 3, [*range(300)] * 3)
    assert thrice.value == pytest.approx(0.6)
    assert thrice == pytest.approx(clustered_mean(once, range(300)))
    assert thrice.high - thrice.low > 1.5 * (accuracy(once * 3).high - accuracy(once * 3).low)


def test_groups_of_one_are_the_plain_bootstrap() -> None:
    values = [0.0] * 40 + [1.0] * 60
    assert clustered_mean(values, range(100)) == pytest.approx(bootstrap_mean(values))


def test_no_values_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no values"):
        clustered_mean([], [])


def test_calibration_bins_hold_equal_parts_by_rising_confidence() -> None:
    """Six answers in three bins: confidences .1 .2 | .5 .6 | .8 1, right 0 | 1 | 2 of 2."""
    bins = calibration_bins([0.8, 0.1, 0.5, 1.0, 0.2, 0.6], [1, 0, 1, 1, 0, 0], bins=3)
    assert [b.confidence for b in bins] == pytest.approx([0.15, 0.55, 0.9])
    assert [b.right for b in bins] == [0, 0.5, 1]
    assert [b.n for b in bins] == [2, 2, 2]


def test_the_wilson_interval_of_five_in_ten() -> None:
    assert wilson_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson_interval(0, 10)[0] == pytest.approx(0, abs=1e-9)
