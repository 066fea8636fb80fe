"""One look at the books for all who wait."""

import threading
from collections.abc import Collection, Mapping
from contextlib import ExitStack

import pytest

from orchestrator.domain.assignments import JobState
from orchestrator.errors import StoreUnavailableError
from workers.dispatch import lookout as lookout_module
from workers.dispatch.lookout import Ending, Lookout


class Books:
    """Counts looks; `ended` are over, and so is what nobody knows."""

    def __init__(self, *known: str) -> None:
        self.known = set(known)
        self.ended: set[str] = set()
        self.looks: list[frozenset[str]] = []
        self.is_away = 0
        self.error: Exception = StoreUnavailableError("away")

    def states_of(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        self.looks.append(frozenset(job_ids))
        if self.is_away:
            self.is_away -= 1
            raise self.error
        return {
            name: JobState.DONE if name in self.ended else JobState.RUNNING
            for name in job_ids
            if name in self.known
        }


def test_three_hundred_who_wait_cost_one_look_each_and_then_one_for_all() -> None:
    books, woken = Books("a", "b"), threading.Semaphore(0)
    lookout = Lookout(books.states_of, pause_s=lambda: 3600.0)
    with ExitStack() as stack:
        endings = [stack.enter_context(lookout.waiting("ab"[n % 2], wake=woken.release)) for n in range(300)]
        _, come = expected(stack, lookout, "gone")
        assert come.wait(30), "what was looked at with this one, the last, leaves nothing to look at"
        n_looks = len(books.looks)
        assert n_looks <= 301
        books.ended = {"a"}
        lookout.moved(["a", "somebody else's"])
        for _ in range(150):
            assert woken.acquire(timeout=30)
        assert [ending.is_over for ending in endings] == [n % 2 == 0 for n in range(300)]
        assert books.looks[n_looks:] == [{"a"}]


def test_all_that_are_waited_for_are_looked_at_now_and_then() -> None:
    """What another process did is told by nobody."""
    books = Books("a", "b")
    lookout = Lookout(books.states_of, pause_s=lambda: 0.01)
    with ExitStack() as stack:
        endings = [expected(stack, lookout, name) for name in "ab"]
        books.ended = {"a", "b"}
        assert all(come.wait(30) for _, come in endings)
    assert frozenset("ab") in books.looks or {frozenset("a"), frozenset("b")} <= set(books.looks)


def test_all_are_looked_at_also_while_one_of_them_moves_without_rest() -> None:
    """A stream moves with every word; a job that another process cancelled is to end all the same."""

    class Busy(Books):
        def states_of(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
            lookout.moved(["busy"])
            return super().states_of(job_ids)

    books = Busy("busy", "quiet")
    lookout = Lookout(books.states_of, pause_s=lambda: 0.01)
    come = threading.Event()
    with ExitStack() as stack:
        expected(stack, lookout, "busy")
        quiet = stack.enter_context(lookout.waiting("quiet", wake=come.set, looks=True))
        quiet.is_submitted = True
        books.ended = {"quiet"}
        assert come.wait(30)
        assert quiet.is_over


def test_a_job_that_is_gone_is_over() -> None:
    lookout = Lookout(Books().states_of, pause_s=lambda: 3600.0)
    with ExitStack() as stack:
        _, come = expected(stack, lookout, "deleted")
        assert come.wait(30)


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), RuntimeError("a fault")])
def test_a_look_that_fails_ends_nobodys_waiting(error: Exception) -> None:
    books = Books("a")
    books.error = error
    books.is_away, books.ended = 2, {"a"}
    lookout = Lookout(books.states_of, pause_s=lambda: 0.01)
    with ExitStack() as stack:
        _, come = expected(stack, lookout, "a")
        assert come.wait(30)
    assert len(books.looks) == 3


def test_its_thread_begins_again_after_nobody_waited() -> None:
    books = Books("a", "b")
    books.ended = {"a", "b"}
    lookout = Lookout(books.states_of, pause_s=lambda: 0.01)
    for name in "ab":
        with ExitStack() as stack:
            _, come = expected(stack, lookout, name)
            assert come.wait(30)


def test_who_looks_himself_is_told_of_every_move_and_costs_no_look() -> None:
    books, moves = Books("a"), threading.Semaphore(0)
    lookout = Lookout(books.states_of, pause_s=lambda: 3600.0)
    with lookout.waiting("a", wake=moves.release, looks=True) as ending, ExitStack() as stack:
        for _ in range(2):
            lookout.moved(["a", "b"])
            assert moves.acquire(timeout=30)
        _, come = expected(stack, lookout, "gone")
        assert come.wait(30), "the thread has looked at what there was to look at"
        assert not ending.is_over
    assert books.looks == [{"gone"}]


def test_who_looks_himself_is_told_what_nobody_told() -> None:
    """A job that another process cancelled moves nowhere here."""
    books = Books("a")
    books.ended = {"a"}
    lookout = Lookout(books.states_of, pause_s=lambda: 0.01)
    come = threading.Event()
    with lookout.waiting("a", wake=come.set, looks=True) as ending:
        ending.is_submitted = True
        assert come.wait(30)
        assert ending.is_over


def test_the_first_one_who_waits_ends_the_rest_of_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks himself moves nothing: the thread, which rests meanwhile, must see that he came."""
    monkeypatch.setattr(lookout_module, "IDLE_S", 3600.0)
    books = Books("a", "b")
    books.ended = {"a", "b"}
    lookout = Lookout(books.states_of, pause_s=lambda: 0.01)
    for name in "ab":
        come = threading.Event()
        with lookout.waiting(name, wake=come.set, looks=True) as ending:
            ending.is_submitted = True
            assert come.wait(30)


def test_a_job_that_is_yet_to_be_submitted_is_not_gone() -> None:
    books = Books("other")
    lookout = Lookout(books.states_of, pause_s=lambda: 0.01)
    with lookout.waiting("new", wake=lambda: None, looks=True) as ending, ExitStack() as stack:
        _, other = expected(stack, lookout, "other")
        while len(books.looks) < 3:
            assert not other.wait(0.001)
        assert not ending.is_over
    assert not any("new" in look for look in books.looks)


def test_of_two_who_wait_for_one_job_each_is_told_in_his_way() -> None:
    books, moves = Books("a"), threading.Semaphore(0)
    lookout = Lookout(books.states_of, pause_s=lambda: 3600.0)
    with lookout.waiting("a", wake=moves.release, looks=True) as mine, ExitStack() as stack:
        ending, come = expected(stack, lookout, "a")
        books.ended = {"a"}
        lookout.moved(["a"])
        assert come.wait(30)
        assert ending.is_over
        assert moves.acquire(timeout=30)
        assert moves.acquire(timeout=30), "told that it moved, and that it ended"
        assert mine.is_over


def expected(stack: ExitStack, lookout: Lookout, name: str) -> tuple[Ending, threading.Event]:
    come = threading.Event()
    return stack.enter_context(lookout.waiting(name, wake=come.set)), come
