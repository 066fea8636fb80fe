"""The ranker of prose, on signs made by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregators.outputs.prose.ranker import (
    LENGTH,
    Ranker,
    Sheet,
    Usual,
    brief_length,
    features,
    fit_ranker,
    usual_of,
)
from aggregators.outputs.prose.signs import Signs

USUAL = Usual(grade=0.5, length=5.0, spread=1.0, brief=4.0)


def signs(length: float, *, paragraphs: float = 0.0) -> Signs:
    return Signs(length, 1.0, paragraphs, 0.0, 0.0, 0.5, 0.0, 0.0, 5.0)


def sheet(grades: list[list[float]], of: list[list[Signs]]) -> Sheet:
    names = tuple(f"e{i}" for i in range(len(grades)))
    return Sheet(names, np.array(grades, dtype=np.float64), np.array(of, dtype=np.float64))


def test_what_is_usual_of_an_expert() -> None:
    """Lengths 1 to 5: mean 3, sd √2, a fifth has at most 1."""
    usual = usual_of([0.2, 0.4, 0.6, 0.8, 1.0], [1, 2, 3, 4, 5])
    assert usual == pytest.approx((0.6, 3.0, math.sqrt(2), 1.0))


@pytest.mark.parametrize(
    ("lengths", "brief"),
    [
        ([1, 2, 3, 4, 5], 1),
        ([5, 4, 3, 2, 1, 6], 2),
        ([1, 1, 3, 4, 5, 6, 7], 1),
        ([1, 3, 3, 3, 3, 3, 3], 1),
        ([3, 3, 3], -math.inf),
        ([3], -math.inf),
    ],
)
def test_a_length_that_is_usual_is_not_brief(lengths: list[float], brief: float) -> None:
    assert brief_length(lengths) == brief


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_never_more_than_two_fifths_are_brief(lengths: list[int]) -> None:
    assert sum(length <= brief_length(lengths) for length in lengths) <= 0.4 * len(lengths)


def test_an_expert_that_always_writes_as_much_has_a_spread() -> None:
    assert usual_of([0.5, 0.5], [3.0, 3.0]).spread > 0


def test_length_is_also_measured_among_the_experts_own() -> None:
    """Length 7 is two spreads above a mean of 5."""
    row = features(np.array([[signs(7.0)]], dtype=np.float64), [USUAL])[0, 0]
    assert row.shape == (11,)
    assert row[LENGTH] == 7.0
    assert row[-2:].tolist() == [2.0, 0.5]


def test_a_sign_that_goes_with_grades_decides_between_answers_of_equals() -> None:
    n = 200
    of = [[signs(5.0, paragraphs=float(i % 2)) for i in range(n)], [signs(5.0) for _ in range(n)]]
    grades = [[0.4 + 0.4 * (i % 2) for i in range(n)], [0.5] * n]
    given = sheet(grades, of)
    usual = [usual_of(g, s[:, LENGTH]) for g, s in zip(given.grades, given.signs, strict=True)]
    ranker = fit_ranker(given, usual)
    well, badly = ranker.scores([signs(5.0, paragraphs=1.0), signs(5.0)], [USUAL, USUAL])
    assert well > badly


def test_what_differs_between_questions_only_teaches_nothing() -> None:
    """Both experts write the same and are graded the same: longer where the question is easy."""
    of = [signs(3.0 + i % 3) for i in range(60)]
    grades = [0.2 + 0.3 * (i % 3) for i in range(60)]
    given = sheet([grades, grades], [of, of])
    usual = [usual_of(g, s[:, LENGTH]) for g, s in zip(given.grades, given.signs, strict=True)]
    assert np.allclose(fit_ranker(given, usual).weights, 0.0)


def test_a_ranker_without_weights_finds_all_answers_alike() -> None:
    assert np.allclose(Ranker(np.zeros(11)).scores([signs(1.0), signs(9.0)], [USUAL, USUAL]), 0.0)
