"""A merged expert is kept if it is better than its best parent, or as good within a margin."""

import numpy as np
import pytest

from orchestrator.evaluation.merges import judged


def right(n: int, of: int = 200) -> np.ndarray:  # type: ignore[type-arg]
    return np.arange(of) < n


@pytest.mark.parametrize(
    ("merged", "parents", "kept", "why"),
    [
        (right(180), {"a": right(100), "b": right(60)}, True, "kept: better; "),
        (
            right(100),
            {"a": right(100), "b": right(100)},
            True,
            "kept: as good, and one model in place of 2; ",
        ),
        (right(99), {"a": right(100)}, True, "kept: as good"),
        (right(60), {"a": right(100), "b": right(20)}, False, "not kept: "),
        (right(90), {"a": right(100)}, False, "not kept: "),
        (right(0), {"a": right(200)}, False, "not kept: "),
        (right(10, of=10), {"a": right(0, of=10)}, False, "not kept: 10 questions say nothing"),
        (right(200), {}, False, "not kept: no parent"),
    ],
)
def test_by_hand(merged: object, parents: dict[str, object], kept: bool, why: str) -> None:
    found = judged(merged, parents)  # type: ignore[arg-type]
    assert (found.kept, found.why[: len(why)]) == (kept, why)


def test_the_best_parent_is_compared_in_pairs() -> None:
    """Right on other questions than the best parent, and on as many: the interval is wide, and 0 is in it."""
    found = judged(right(100), {"worse": right(50), "best": ~right(100)})
    assert found.best == "best"
    assert found.difference is not None
    assert found.difference.value == 0
    assert found.difference.low < -0.1 < 0.1 < found.difference.high
    assert not found.kept
