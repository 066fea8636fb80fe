"""What a job costs beside much that is stored, over what it cost beside little."""

import pytest

from benchmarks.batch_jobs import growth


def _job(yardstick_ms: float, **spent: float) -> dict[str, object]:
    return {"yardstick_ms": yardstick_ms, "core_ms_per_query": spent}


def test_growth_is_by_process_and_in_units_of_the_yardstick() -> None:
    """Twice the time for the yardstick, and three times for the work: the work grew by a half."""
    first, last = _job(1.0, worker=0.2, total=0.8), _job(2.0, worker=0.6, total=1.6)
    assert growth(first, last) == {"worker": pytest.approx(1.5), "total": pytest.approx(1.0)}


def test_a_process_that_took_next_to_nothing_has_no_growth() -> None:
    first, last = _job(1.0, redis=0.004, total=0.8), _job(1.0, redis=0.012, total=0.8)
    assert growth(first, last) == {"total": 1.0}
