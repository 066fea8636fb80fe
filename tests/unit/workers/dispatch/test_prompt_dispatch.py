"""Questions do not wait for the loop's turn: who has news ends its wait, however long that would be."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.assignments import INTERACTIVE, Job, JobState
from orchestrator.domain.experts import EngineSpec, Pool
from orchestrator.ports.engines import Backend, EngineEvent, Finished, GenerationRequest
from orchestrator.runtime.alarm import Alarm
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import ended, make_setup
from tests.fakes.work import make_pool, make_queries
from workers.backends.scripted import ScriptedBackend
from workers.device.pace import Pace
from workers.dispatch.local import LocalDispatcher
from workers.engine_host.backend import HostedBackend

TURN_S = 3600.0
PACE = Pace(poll_s=TURN_S, look_s=TURN_S)
WITHIN_S = 60
POOL = make_pool("a")
SLOW = make_pool("a", backend="scripted", rules=[{"regex": ".", "delay_s": 0.05, "reply": "Fine."}])


class Held:
    """An engine that finishes everything when it is let go, and says so by its descriptor."""

    def __init__(self) -> None:
        self._requests: list[str] = []
        self._is_let_go = False
        self._news = Alarm()
        self.taken = threading.Semaphore(0)

    def load(self, _spec: EngineSpec, _adapters: Sequence[str]) -> "Held":
        return self

    def fileno(self) -> int:
        return self._news.fileno()

    def submit(self, request: GenerationRequest) -> None:
        self._requests.append(request.id)
        self.taken.release()

    def let_go(self) -> None:
        self._is_let_go = True
        self._news.ring()

    def poll(self, _timeout_s: float) -> list[EngineEvent]:
        self._news.clear()
        if not self._is_let_go:
            return []
        finished, self._requests = self._requests, []
        return [Finished(request_id, "yes", FinishReason.STOP, Usage()) for request_id in finished]

    def abort(self, _request_id: str) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def store(tmp_path: Path):
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


@contextmanager
def serving(
    store: SqlJobStore, backend: Callable[[str], Backend], pool: Pool = POOL
) -> Iterator[LocalDispatcher]:
    dispatcher = LocalDispatcher(make_setup(store, pool, backend), pace=PACE)
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()


def ask(store: SqlJobStore, dispatcher: LocalDispatcher, job_id: str) -> None:
    store.submit(Job(id=job_id, composition="any", priority=INTERACTIVE), make_queries(1, prefix=job_id))
    dispatcher.notify()


def test_a_question_joins_an_engine_that_is_at_work_at_once(store: SqlJobStore) -> None:
    engine = Held()
    with serving(store, lambda _: engine) as dispatcher:
        for job_id in ("first", "second"):
            ask(store, dispatcher, job_id)
            assert engine.taken.acquire(timeout=WITHIN_S), "it waits for the loop's turn"
        engine.let_go()
        for job_id in ("first", "second"):
            assert ended(store, dispatcher, job_id, timeout_s=WITHIN_S)


def test_who_waits_too_short_is_told_so(store: SqlJobStore) -> None:
    engine = Held()
    with serving(store, lambda _: engine) as dispatcher:
        ask(store, dispatcher, "first")
        assert not ended(store, dispatcher, "first", timeout_s=0.01)
        engine.let_go()
        assert ended(store, dispatcher, "first", timeout_s=WITHIN_S)
    assert store.job("first").state is JobState.DONE


def test_an_engine_in_a_child_process_ends_the_wait(store: SqlJobStore) -> None:
    hosted = HostedBackend("scripted")
    try:
        with serving(store, lambda _: hosted, SLOW) as dispatcher:
            for job_id in ("first", "second"):
                ask(store, dispatcher, job_id)
                assert ended(store, dispatcher, job_id, timeout_s=WITHIN_S)
    finally:
        hosted.close()


def test_an_engine_that_knows_when_it_is_done_is_not_waited_for_longer(store: SqlJobStore) -> None:
    scripted = ScriptedBackend()
    with serving(store, lambda _: scripted, SLOW) as dispatcher:
        for job_id in ("first", "second"):
            ask(store, dispatcher, job_id)
            assert ended(store, dispatcher, job_id, timeout_s=WITHIN_S)
