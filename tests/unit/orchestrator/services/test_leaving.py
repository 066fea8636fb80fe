"""Questions that nobody waits for any more are cancelled, also when the database is away at that moment."""

import threading
from collections.abc import Iterable

import pytest

from orchestrator.errors import NotFoundError, StoreError, StoreUnavailableError
from orchestrator.services.leaving import Leavings


class Books:
    """Cancelling comes to `outcomes`, one after the other, and then succeeds."""

    def __init__(self, outcomes: Iterable[Exception | None] = ()) -> None:
        self.outcomes = list(outcomes)
        self.tried: list[str] = []
        self.cancelled: list[str] = []
        self.has_all = threading.Semaphore(0)

    def cancel(self, job_id: str) -> None:
        self.tried.append(job_id)
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome
        self.cancelled.append(job_id)
        self.has_all.release()


def away() -> StoreUnavailableError:
    return StoreUnavailableError("away")


def test_what_is_left_is_cancelled_at_once() -> None:
    books = Books()
    Leavings(books.cancel).leave("job")
    assert books.cancelled == ["job"]


def test_what_is_not_there_is_left_alone() -> None:
    books = Books([NotFoundError("no such job")])
    Leavings(books.cancel, pause_s=0.001).leave("job")
    assert books.tried == ["job"]


def test_what_the_database_was_away_for_is_cancelled_when_it_is_back() -> None:
    books = Books([away(), away(), away(), away()])
    leavings = Leavings(books.cancel, pause_s=0.001)
    for job_id in "ab":
        leavings.leave(job_id)
    for _ in "ab":
        assert books.has_all.acquire(timeout=30)
    assert sorted(books.cancelled) == ["a", "b"]


@pytest.mark.parametrize("error", [NotFoundError("deleted"), StoreError("refused"), RuntimeError("a fault")])
def test_one_that_cannot_be_cancelled_keeps_no_other_from_it(error: Exception) -> None:
    books = Books([away(), error])
    leavings = Leavings(books.cancel, pause_s=0.001)
    leavings.leave("odd")
    while books.tried.count("odd") < 2:
        assert not books.has_all.acquire(timeout=0.001)
    books.outcomes = [away()]
    leavings.leave("other")
    assert books.has_all.acquire(timeout=30)
    assert books.cancelled == ["other"]


def test_a_refusal_for_another_reason_is_told() -> None:
    with pytest.raises(StoreError):
        Leavings(Books([StoreError("refused")]).cancel).leave("job")
