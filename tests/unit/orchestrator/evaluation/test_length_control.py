"""Length control on grades made by known rules."""

import math

import numpy as np
import pytest

from orchestrator.evaluation.length_control import Answers, LengthControl

REFERENCE = np.full(400, 1000)
RNG = np.random.default_rng(7)
CHARS = RNG.integers(200, 2000, size=(4, 400))
EASE = RNG.normal(0, 1, size=400)


def liking(chars: np.ndarray) -> np.ndarray:
    """tanh(ln(characters / reference))."""
    return np.tanh(np.log(chars / 1000))


def graded(skill: float, chars: np.ndarray, *, likes: float) -> np.ndarray:
    return 1 / (1 + np.exp(-(skill + EASE + likes * liking(chars))))


def control(likes: float) -> LengthControl:
    grades = np.stack([graded(skill, CHARS[i], likes=likes) for i, skill in enumerate((-1.0, 0.0, 0.5, 1.0))])
    return LengthControl(grades, CHARS, REFERENCE)


def row(skill: float, chars: np.ndarray, *, likes: float) -> Answers:
    return Answers(graded(skill, chars, likes=likes), chars)


LONG, SHORT = np.full(400, 1600), np.full(400, 500)


def test_a_gain_that_is_length_alone_is_gone_at_equal_lengths() -> None:
    held = control(likes=2.0)
    short, long = row(0.0, SHORT, likes=2.0), row(0.0, LONG, likes=2.0)
    assert long.grades.mean() - short.grades.mean() > 0.3
    assert held.at_lengths_of(long, short) == pytest.approx(short.grades.mean(), abs=0.03)


def test_a_gain_that_has_nothing_to_do_with_length_is_left() -> None:
    held = control(likes=0.0)
    better, worse = row(1.0, LONG, likes=0.0), row(0.0, SHORT, likes=0.0)
    gain = better.grades.mean() - worse.grades.mean()
    assert held.at_lengths_of(better, worse) - worse.grades.mean() == pytest.approx(gain, abs=0.03)


def test_the_control_of_a_row_follows_its_own_lengths() -> None:
    """Lengths differ from question to question: at the reference's, only skill and ease count."""
    held = control(likes=1.0)
    varied = row(0.3, CHARS[0] * 2 // 3, likes=1.0)
    plain = float((1 / (1 + np.exp(-(0.3 + EASE)))).mean())
    assert held.controlled(varied) == pytest.approx(plain, abs=0.03)
    assert abs(varied.grades.mean() - plain) > 0.02


def test_a_row_at_its_own_lengths_is_as_it_was_graded() -> None:
    held, one = control(likes=1.0), row(0.3, CHARS[1], likes=1.0)
    assert held.at_lengths_of(one, one) == pytest.approx(one.grades.mean(), abs=1e-3)


def test_answers_without_a_word_have_the_least_length_there_is() -> None:
    held = control(likes=1.0)
    silent = Answers(np.zeros(400), np.zeros(400, dtype=np.int64))
    assert math.isfinite(held.controlled(silent))
    assert 0 <= held.at_lengths_of(silent, row(0.0, LONG, likes=1.0)) < 0.05


@pytest.mark.parametrize("grade", [0.0, 1.0])
def test_grades_that_are_all_alike_have_a_fit(grade: float) -> None:
    held = LengthControl(np.full((2, 5), grade), np.full((2, 5), 10), np.full(5, 10))
    one = Answers(np.full(5, grade), np.full(5, 10))
    assert held.controlled(one) == pytest.approx(grade, abs=0.01)
