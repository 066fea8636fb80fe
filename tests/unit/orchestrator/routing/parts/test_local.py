import math

import numpy as np
import pytest

from orchestrator.routing.parts.local import DEFAULT_SHAPE, LocalModel, choose_shape, evenly, fit_local, folds
from tests.fakes.decks import profile

EAST, NORTH = (1.0, 0.0), (0.0, 1.0)


def vectors(*points: tuple[float, float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(points, dtype=np.float32)


def test_local_accuracy_by_hand() -> None:
    """One expert, right in the east, wrong in the north: overall (1 + 1)/(2 + 2) = .5, surprises ± .5, all of
    them ease. Kernel between the two: k = exp(−1/.4) = .082. (K + I)⁻¹ (.5, −.5) = ± .5/(2 − k), so that the
    east gains (1 − k)/(2 − k)/2 = .239."""
    model = LocalModel(profile({"only": [1, 0]}, [EAST, NORTH]))
    k = math.exp(-1 / DEFAULT_SHAPE.bandwidth)
    accuracy, n = model.appraise(vectors(EAST, NORTH))
    gain = (1 - k) / (2 - k) / 2
    assert accuracy[:, 0] == pytest.approx([0.5 + gain, 0.5 - gain], abs=1e-4)
    assert n[:, 0] == pytest.approx([1 + k, 1 + k], abs=0.01)


def test_far_from_every_profile_question_the_overall_accuracy_counts() -> None:
    model = LocalModel(profile({"only": [1, 1, 1, 0]}, [EAST] * 4))
    (accuracy, _) = model.appraise(vectors((-1.0, 0.0)))
    assert accuracy[0, 0] == pytest.approx(4 / 6, abs=0.01)


def test_an_expert_that_was_never_measured_counts_as_even_odds() -> None:
    accuracy, n = LocalModel(profile({"a": [1, 1], "b": [-2, -2]}, [EAST, NORTH])).appraise(vectors(EAST))
    assert (accuracy[0, 1], n[0, 1]) == (0.5, 0)


def specialists() -> LocalModel:
    """Forty questions in the east and forty in the north, an expert for each."""
    outcomes = {"left": [1] * 40 + [0] * 40, "right": [0] * 40 + [1] * 40}
    return LocalModel(profile(outcomes, [EAST] * 40 + [NORTH] * 40))


def test_specialists_are_told_apart_even_on_questions_that_were_left_out() -> None:
    crossfitted = specialists().crossfitted
    assert (crossfitted[:40, 0] > 0.9).all()
    assert (crossfitted[:40, 1] < 0.1).all()
    assert (crossfitted[40:, 1] > 0.9).all()


def test_the_shape_is_chosen_inside_the_profile() -> None:
    """Specialists deserve trust in little data; coin tosses deserve none."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(120, 8))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    tossed = rng.integers(0, 2, (120, 3)).astype(float)
    noisy = choose_shape(points.astype(np.float32), tossed, np.ones((120, 3)), seed=0)
    assert specialists().shape.particular < 1 < noisy.particular


def test_a_profile_is_fitted_once() -> None:
    measured = profile({"a": [1, 0]}, [EAST, NORTH])
    assert fit_local(measured) is fit_local(measured)


def test_every_row_is_left_out_once() -> None:
    left_out = [row for _, rows in folds(12, seed=3) for row in rows.tolist()]
    assert sorted(left_out) == list(range(12))
    assert all(set(inside) | set(out) == set(range(12)) for inside, out in folds(12, seed=3))
    assert folds(1, seed=0) == []


def test_rows_are_spread_evenly() -> None:
    assert evenly(9, 3).tolist() == [0, 4, 8]
    assert evenly(3, 9).tolist() == [0, 1, 2]
