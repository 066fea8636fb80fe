import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.cards import Transcript
from orchestrator.domain.queries import Query
from orchestrator.routing.parts.lineup import in_shared_order, line_up, repeated_errors
from tests.fakes.decks import profile

POINTS = [(1.0, 0.0)] * 4
WORTH = np.array([[0.60, 0.58, 0.30], [0.20, 0.50, 0.52]])
RANK = np.array([1, 0, 2])
"""Expert 1 is first in the shared order, then 0, then 2."""


def test_without_likeness_the_best_come_first() -> None:
    assert line_up(WORTH, 2).tolist() == [[0, 1], [2, 1]]


def test_who_repeats_the_errors_of_one_before_comes_behind_another() -> None:
    """0.58 − 0.3 = 0.28 < 0.30."""
    alike = np.array([[0.0, 0.3, 0.0], [0.3, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert line_up(WORTH[:1], 3, alike).tolist() == [[0, 2, 1]]


def test_equals_are_asked_in_the_shared_order() -> None:
    ranked = line_up(WORTH, 3)
    assert in_shared_order(ranked, WORTH, RANK, 0.05).tolist() == [[1, 0, 2], [1, 2, 0]]


def test_without_tolerance_the_order_stays() -> None:
    ranked = line_up(WORTH, 3)
    assert in_shared_order(ranked, WORTH, RANK, 0.0) is ranked


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=5),
    st.integers(1, 4),
    st.floats(0.001, 1),
    st.permutations(range(4)),
)
def test_the_shared_order_changes_nobody_and_no_place_loses_more_than_the_tolerance(
    worth: list[list[float]], k: int, within: float, rank: list[int]
) -> None:
    values = np.array(worth)
    ranked = line_up(values, k)
    ordered = in_shared_order(ranked, values, np.array(rank), within)
    assert np.sort(ordered).tolist() == np.sort(ranked).tolist()
    of_ordered = np.take_along_axis(values, ordered, axis=1)
    for place in range(k):
        assert (of_ordered[:, place] >= of_ordered[:, place:].max(axis=1) - within - 1e-6).all()


@given(st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=5))
def test_with_all_tolerance_every_query_follows_the_shared_order(worth: list[list[float]]) -> None:
    values = np.array(worth)
    ordered = in_shared_order(line_up(values, 3), values, np.array([2, 0, 3, 1]), 1.0)
    places = np.array([2, 0, 3, 1])[ordered]
    assert (np.diff(places, axis=1) > 0).all()


def test_errors_are_repeated_where_two_are_wrong_with_the_same_answer() -> None:
    """a wrong on 2, 3, 4; b wrong on 3, 4; the same answer on 3 only: 1 of 3."""
    measured = profile({"a": [1, 0, 0, 0], "b": [1, 1, 0, 0], "c": [-2, -2, -2, -2]}, POINTS)
    said = (("A", "B", "B", "C"), ("A", "A", "B", "D"), (None,) * 4)
    transcript = Transcript(
        queries=tuple(Query(id=str(i), question="?") for i in range(4)),
        values=said,
        chars=np.ones((3, 4), dtype=np.int32),
    )
    object.__setattr__(measured, "transcript", transcript)
    alike = repeated_errors(measured, ("b", "stranger", "a", "c"))
    assert alike[0, 2] == alike[2, 0] == pytest.approx(1 / 3)
    assert alike[1].sum() == 0
    assert alike[3].sum() == 0


def test_without_answers_being_wrong_together_counts() -> None:
    """Both wrong on 3 and 4, one of them on 2, 3, 4."""
    alike = repeated_errors(profile({"a": [1, 0, 0, 0], "b": [1, 1, 0, 0]}, POINTS), ("a", "b"))
    assert alike[0, 1] == pytest.approx(2 / 3)
