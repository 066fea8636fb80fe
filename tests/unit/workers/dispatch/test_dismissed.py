"""A process that is about to end: who waits in it is let go, whoever does the work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.domain.assignments import INTERACTIVE, Job, JobState
from orchestrator.errors import StoppingError
from orchestrator.ports.dispatch import Dispatcher
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import make_setup
from tests.fakes.work import FakeBackend, make_pool, make_queries
from workers.device.pace import Pace
from workers.dispatch.local import LocalDispatcher
from workers.dispatch.stack import StackDispatcher
from workers.stack.news import NoNews

HOURS = 36_000.0
PACE = Pace(look_s=0.01, poll_s=0.001)
Wait = Callable[[Dispatcher, str], None]


class Bell:
    def ring(self, _name: str) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


@contextmanager
def local(store: SqlJobStore) -> Iterator[Dispatcher]:
    """Its loop leaves the steps to others, so that nothing is ever answered."""
    dispatcher = LocalDispatcher(make_setup(store, make_pool("a"), FakeBackend(), steps=False), pace=PACE)
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()


@contextmanager
def stack(store: SqlJobStore) -> Iterator[Dispatcher]:
    dispatcher = StackDispatcher(jobs=store, work=store, bells=Bell(), news=NoNews())
    try:
        yield dispatcher
    finally:
        dispatcher.stop()


def expects(dispatcher: Dispatcher, job_id: str) -> None:
    with dispatcher.expect(job_id, timeout_s=HOURS) as turns:
        for _ in turns:
            pass


def listens(dispatcher: Dispatcher, job_id: str) -> None:
    with dispatcher.listen(job_id, timeout_s=HOURS) as told:
        for _ in told:
            pass


BOTH = pytest.mark.parametrize("opened", [local, stack])
WAYS = pytest.mark.parametrize("wait", [expects, listens])


@BOTH
@WAYS
def test_who_waits_is_let_go_and_who_comes_later_does_not_wait(
    store: SqlJobStore, opened: Callable[..., object], wait: Wait
) -> None:
    store.submit(Job(id="job", composition="any", priority=INTERACTIVE), make_queries(1))
    outcomes: list[str] = []

    def waits() -> None:
        try:
            wait(dispatcher, "job")
        except StoppingError as error:
            outcomes.append(error.code)

    with opened(store) as dispatcher:  # type: ignore[attr-defined]
        threads = [threading.Thread(target=waits, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        dispatcher.dismiss()
        waits()
        for thread in threads:
            thread.join(30)
    assert outcomes == ["server_stopping"] * 4
    assert store.job("job").state is JobState.RUNNING


@BOTH
def test_a_job_that_has_ended_is_seen_also_by_who_is_let_go(
    store: SqlJobStore, opened: Callable[..., object]
) -> None:
    store.submit(Job(id="job", composition="any", priority=INTERACTIVE), make_queries(1))
    with opened(store) as dispatcher:  # type: ignore[attr-defined]
        dispatcher.dismiss()
        store.cancel("job")
        with dispatcher.expect("job", timeout_s=HOURS) as turns:
            next(turns)
            assert store.job("job").state.is_over


def test_a_loop_that_is_started_again_is_waited_for_again(store: SqlJobStore) -> None:
    dispatcher = LocalDispatcher(make_setup(store, make_pool("a"), FakeBackend()), pace=PACE)
    dispatcher.start()
    dispatcher.stop()
    dispatcher.start()
    try:
        store.submit(Job(id="job", composition="any", priority=INTERACTIVE), make_queries(1))
        dispatcher.notify()
        expects(dispatcher, "job")
        assert store.job("job").state is JobState.DONE
    finally:
        dispatcher.stop()
