import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.assignments import INTERACTIVE, NOTHING_LEFT, Job, JobProgress, JobState
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Query
from orchestrator.errors import NotFoundError, StoreUnavailableError
from orchestrator.ports.engines import EngineEvent, Failed, Finished, GenerationRequest
from orchestrator.ports.jobs import Completion
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import make_setup
from tests.fakes.work import FakeBackend, FakeEngine, make_pool, make_queries
from workers.device.pace import Pace
from workers.dispatch import local as dispatch
from workers.dispatch.local import LocalDispatcher
from workers.leases.owners import is_dead, new_owner

PACE = Pace(look_s=0.01, poll_s=0.001, commit_s=0.01)


@pytest.fixture
def store(tmp_path: Path):
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


def make_dispatcher(store: SqlJobStore, backend: FakeBackend, *, pace: Pace = PACE) -> LocalDispatcher:
    return LocalDispatcher(make_setup(store, make_pool("a", "b"), backend), pace=pace)


def submit(store: SqlJobStore, n: int = 5, *, job_id: str = "job", priority: int = 0) -> None:
    store.submit(Job(id=job_id, composition="any", priority=priority), make_queries(n))


def test_run_works_until_the_job_is_done_and_shows_progress(store: SqlJobStore) -> None:
    submit(store)
    shown: list[JobProgress] = []
    progress = make_dispatcher(store, FakeBackend()).run("job", on_progress=shown.append)
    assert (progress.state, progress.completed) == (JobState.DONE, 5)
    assert shown[-1] == progress


def test_run_of_a_job_that_has_ended_loads_nothing(store: SqlJobStore) -> None:
    submit(store, 0)
    backend = FakeBackend()
    assert make_dispatcher(store, backend).run("job").state is JobState.DONE
    assert backend.loads == []


def test_run_of_an_unknown_job_is_refused(store: SqlJobStore) -> None:
    with pytest.raises(NotFoundError):
        make_dispatcher(store, FakeBackend()).run("nobody")


def test_the_engine_stays_resident_between_runs(store: SqlJobStore) -> None:
    backend = FakeBackend()
    dispatcher = make_dispatcher(store, backend)
    for job_id in ("first", "second"):
        submit(store, job_id=job_id)
        dispatcher.run(job_id)
    assert len(backend.loads) == 3  # a, b; then b first, as it is resident


def test_the_plan_tells_the_loads_that_waiting_work_still_needs(store: SqlJobStore) -> None:
    """Two engines, each needed by every query: two loads, then one, then none."""
    seen: list[tuple[str, ...]] = []

    class Looking(FakeBackend):
        def load(self, spec, adapters):
            seen.append(dispatcher.plan(later=frozenset()).order)
            return super().load(spec, adapters)

    dispatcher = make_dispatcher(store, Looking())
    submit(store)
    dispatcher.run("job")
    assert seen == [("a", "b"), ("b",)]
    assert dispatcher.plan(later=frozenset({"a"})) == NOTHING_LEFT


def test_an_interrupted_run_gives_its_leases_back_and_resumes(store: SqlJobStore) -> None:
    class Interrupting(FakeBackend):
        def load(self, spec, adapters):
            engine = super().load(spec, adapters)
            if len(self.loads) == 1:
                engine.poll = _interrupt
            return engine

    submit(store)
    dispatcher = make_dispatcher(store, Interrupting())
    with pytest.raises(KeyboardInterrupt):
        dispatcher.run("job")
    assert store.lease_owners() == []
    assert store.job("job").state is JobState.RUNNING
    assert dispatcher.run("job").completed == 5
    assert {a.attempt for a in store.claim("a", owner="x", limit=9, lease_s=9).assignments} == set()


class Unheard(FakeEngine):
    """Finishes at once, as a child process may, but says nothing until it is told to stop."""

    def __init__(self, spec: EngineSpec, *, n_finished: int, on_work: threading.Event) -> None:
        super().__init__(spec, [], batch=4, clock=None)
        self._n_finished = n_finished
        self._on_work = on_work
        self._requests: list[str] = []
        self._said: list[EngineEvent] = []

    def submit(self, request: GenerationRequest) -> None:
        self._requests.append(request.id)
        if len(self._requests) == 4:
            self._on_work.set()

    def poll(self, timeout_s: float) -> list[EngineEvent]:
        said, self._said = self._said, []
        return said

    def abort(self, request_id: str) -> None:
        if self._requests.index(request_id) < self._n_finished:
            self._said.append(Finished(request_id, "yes", FinishReason.STOP, Usage()))
        else:
            self._said.append(Failed(request_id, "aborted", "stopped"))


class UnheardBackend(FakeBackend):
    """Its engines have finished some of four requests when they are left."""

    def __init__(self, n_finished: int) -> None:
        super().__init__()
        self.n_finished = n_finished
        self.has_work = threading.Event()

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Unheard:
        return Unheard(spec, n_finished=self.n_finished, on_work=self.has_work)


@pytest.mark.parametrize("n_finished", [0, 3, 4])
def test_who_leaves_collects_what_engines_have_finished(store: SqlJobStore, n_finished: int) -> None:
    """The rest is given back, its attempt refunded."""
    submit(store, 4)
    backend = UnheardBackend(n_finished)
    dispatcher = make_dispatcher(store, backend)
    dispatcher.start()
    assert backend.has_work.wait(20)
    dispatcher.stop()
    assert store.job("job").n_responses == n_finished
    assert store.lease_owners() == []
    left = store.claim("a", owner="next", limit=9, lease_s=9).assignments
    assert [a.attempt for a in left] == [1] * (4 - n_finished)


@pytest.fixture
def heeds_interruptions():
    """A suite that was started in the background ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interruptions")
def test_an_interruption_during_a_slow_commit_loses_nothing(
    store: SqlJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes while the first responses are being committed; the commit ends only after it was heard."""
    heard, complete, committed = threading.Event(), store.complete, []

    def slowly(owner: str, completions: Sequence[Completion]) -> int:
        if not heard.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            assert heard.wait(60)
        committed.extend(completions)
        return complete(owner, completions)

    monkeypatch.setattr(store, "complete", slowly)
    monkeypatch.setattr(dispatch.log, "info", lambda *_: heard.set())
    submit(store)
    dispatcher = make_dispatcher(store, backend := FakeBackend())
    with pytest.raises(KeyboardInterrupt):
        dispatcher.run("job")
    generated = [line for line in backend.journal if not line.startswith("load")]
    assert store.job("job").n_responses == len(committed) == len(generated) > 0
    assert store.lease_owners() == []
    dispatcher.run("job")
    assert store.job("job").n_regenerated == 0


def test_a_second_interruption_leaves_at_once(tmp_path: Path) -> None:
    """The commit never ends."""
    code = f"""
import os, signal, threading
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from tests.unit.workers.dispatch.test_local_dispatch import *
store = SqlJobStore(open_database(fresh_sqlite(Path({str(tmp_path)!r}))))
submit(store)
pings = iter(range(2))
def never(owner, completions):
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    threading.Event().wait()
store.complete = never
dispatch.log.info = lambda *_: signal.raise_signal(signal.SIGINT)
make_dispatcher(store, FakeBackend()).run("job")
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert run.returncode in (-signal.SIGINT, dispatch.INTERRUPTED), run.stderr


def test_leases_are_renewed_while_a_round_takes_long(
    store: SqlJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine says nothing until somebody else has kept this device alive."""
    touched = threading.Event()
    monkeypatch.setattr(store, "touch_devices", lambda _owners: touched.set())

    class Slow(FakeBackend):
        def load(self, spec, adapters):
            engine = super().load(spec, adapters)
            poll = engine.poll
            engine.poll = lambda timeout_s: poll(timeout_s) if touched.wait(60) else []
            return engine

    submit(store)
    dispatcher = make_dispatcher(store, Slow(), pace=PACE._replace(renew_s=0.01))
    assert dispatcher.run("job").completed == 5


def test_wait_does_the_work_when_nobody_else_does(store: SqlJobStore) -> None:
    submit(store)
    assert make_dispatcher(store, FakeBackend()).wait("job", timeout_s=60).completed == 5


def test_wait_gives_up_in_time_and_leaves_no_lease(store: SqlJobStore) -> None:
    store.submit(Job(id="job", composition="any"), [Query(id="slow", question="hang")])
    progress = make_dispatcher(store, FakeBackend()).wait("job", timeout_s=0.2)
    assert progress.state is JobState.RUNNING
    assert store.lease_owners() == []


def test_the_background_loop_answers_what_is_submitted_while_it_runs(store: SqlJobStore) -> None:
    dispatcher = make_dispatcher(store, FakeBackend())
    dispatcher.start()
    try:
        assert dispatcher.is_serving
        for n in range(3):
            submit(store, 1, job_id=f"ask{n}", priority=INTERACTIVE)
            assert dispatcher.wait(f"ask{n}", timeout_s=60).completed == 1
        submit(store, 20)
        assert dispatcher.run("job").completed == 20
    finally:
        dispatcher.stop()
    assert not dispatcher.is_serving
    dispatcher.stop()


def test_the_background_loop_survives_an_error_and_starts_over(
    store: SqlJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "STORE_BACKOFF_S", (0.01,))
    dispatcher = make_dispatcher(store, FakeBackend())
    failures = iter([RuntimeError("a bug"), StoreUnavailableError("away"), StoreUnavailableError("away")])
    tick = dispatcher._loop.tick

    def failing() -> bool:
        for error in failures:
            raise error
        return tick()

    monkeypatch.setattr(dispatcher._loop, "tick", failing)
    submit(store)
    dispatcher.start()
    try:
        assert dispatcher.wait("job", timeout_s=60).completed == 5
    finally:
        dispatcher.stop()


def test_two_dispatchers_on_one_database_share_a_job(store: SqlJobStore) -> None:
    submit(store, 60)
    backends = [FakeBackend(batch=5), FakeBackend(batch=5)]
    dispatchers = [make_dispatcher(store, backend) for backend in backends]
    threads = [threading.Thread(target=d.run, args=("job",)) for d in dispatchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    progress = store.job("job")
    assert (progress.completed, progress.n_responses, progress.n_regenerated) == (60, 120, 0)
    generations = [line for b in backends for line in b.journal if not line.startswith("load")]
    assert len(generations) == len(set(generations)) == 120


def test_the_leases_of_a_dead_process_are_free_at_once(store: SqlJobStore) -> None:
    code = "from workers.leases.owners import new_owner; print(new_owner())"
    dead = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    submit(store)
    dispatcher = make_dispatcher(store, FakeBackend())
    dispatcher._loop._advance()
    for engine_id in "ab":
        store.claim(engine_id, owner=dead, limit=99, lease_s=3600)
    assert dispatcher.run("job").completed == 5


def test_an_owner_is_dead_only_when_that_is_certain() -> None:
    me = new_owner()
    assert not is_dead(me)
    assert me != new_owner()
    host, namespace, pid, start, n = me.split("|")
    assert is_dead(f"{host}|{namespace}|{pid}|{int(start) - 1}|{n}")  # the number was given out again
    assert not is_dead(f"elsewhere|{namespace}|{pid}|1|{n}")
    assert not is_dead(f"{host}|other|{pid}|1|{n}")
    assert not is_dead("loop")
    assert int(pid) == os.getpid()


def _interrupt(_timeout_s: float) -> None:
    raise KeyboardInterrupt


def test_a_wait_does_its_own_work_and_leaves_other_jobs_batches_alone(store: SqlJobStore) -> None:
    submit(store, 20, job_id="batch")
    submit(store, 2, job_id="ask", priority=INTERACTIVE)
    dispatcher = make_dispatcher(store, FakeBackend())

    assert dispatcher.wait("ask", timeout_s=60).completed == 2
    assert store.job("batch").n_responses == 0

    assert dispatcher.run("batch").completed == 20


def test_nothing_is_driven_after_stop(store: SqlJobStore) -> None:
    submit(store)
    backend = FakeBackend()
    dispatcher = make_dispatcher(store, backend)
    dispatcher.stop()

    assert dispatcher.run("job").state is JobState.RUNNING
    assert backend.loads == []
