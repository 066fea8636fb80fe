"""Engines that run elsewhere are served beside the device."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.domain.assignments import INTERACTIVE, JobState
from orchestrator.domain.experts import EngineSpec, Pool
from orchestrator.ports.engines import Engine, EngineEvent
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import EAGER, FAR, make_loop, passing, run, run_until, submit
from tests.fakes.work import FakeBackend, FakeEngine, HandClock, TextMajority, make_pool, make_queries


@pytest.fixture
def store(tmp_path: Path):
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


def mixed_pool(*, local: Sequence[str], far: Sequence[str], **options: object) -> Pool:
    return Pool(experts=make_pool(*local).experts + make_pool(*far, backend=FAR, **options).experts)


class SlowFarBackend(FakeBackend):
    """Its remote engines answer one request every `every_s`; `widest` is the most they held at once."""

    def __init__(self, clock: HandClock, *, every_s: float) -> None:
        super().__init__(batch=1, clock=clock)
        self.widest = 0
        self._every_s = every_s

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        engine = super().load(spec, adapters)
        if spec.backend == FAR:
            assert isinstance(engine, FakeEngine)
            self._slow_down(engine)
        return engine

    def _slow_down(self, engine: FakeEngine) -> None:
        clock, poll, last = self._clock, engine.poll, [0.0]
        assert clock is not None

        def seldom(timeout_s: float) -> list[EngineEvent]:
            self.widest = max(self.widest, len(engine._waiting))
            if clock.now - last[0] < self._every_s:
                return []
            last[0] = clock.now
            return poll(0.0)

        engine.poll = seldom  # type: ignore[method-assign]


def test_remote_engines_run_beside_the_resident_one_and_count_as_no_loads(store: SqlJobStore) -> None:
    clock = HandClock()
    backend = SlowFarBackend(clock, every_s=1)
    loop = make_loop(store, mixed_pool(local=["a", "b"], far=["x", "y"]), backend, clock=clock)
    submit(store, make_queries(20))
    run_until(loop, passing(clock, 0.3, lambda: store.job("job").state is JobState.DONE))
    progress = store.job("job")
    assert (progress.completed, progress.n_responses, progress.n_regenerated) == (20, 80, 0)
    assert sorted(backend.loads) == ["a", "b", "x", "y"]
    assert [load.engine_id for load in store.engine_loads(job_id="job")] == ["a", "b"]
    first_local = backend.journal.index("b question q19")
    assert [line for line in backend.journal[first_local:] if line[0] in "xy"], "one waited for the other"


def test_no_more_is_claimed_than_may_be_called_at_once(store: SqlJobStore) -> None:
    clock = HandClock()
    backend = SlowFarBackend(clock, every_s=1)
    loop = make_loop(store, mixed_pool(local=[], far=["x"], max_concurrent=3), backend, clock=clock)
    submit(store, make_queries(20))
    run_until(loop, passing(clock, 0.5, lambda: store.job("job").state is JobState.DONE))
    assert backend.widest == 3


def test_a_request_that_waits_long_for_its_turn_does_not_time_out(store: SqlJobStore) -> None:
    """Sixteen at once, one a minute: the last one waits for a quarter of an hour."""
    clock = HandClock()
    loop = make_loop(store, mixed_pool(local=[], far=["x"]), SlowFarBackend(clock, every_s=60), clock=clock)
    submit(store, make_queries(16))
    run_until(loop, passing(clock, 30, lambda: store.job("job").state is JobState.DONE))
    assert store.job("job").completed == 16


def test_a_remote_engine_that_reports_nothing_at_all_counts_as_crashed(store: SqlJobStore) -> None:
    clock = HandClock()
    backend = SlowFarBackend(clock, every_s=1e9)
    loop = make_loop(store, mixed_pool(local=[], far=["x"]), backend, clock=clock)
    submit(store, make_queries(3))
    run_until(loop, passing(clock, 10, lambda: store.job("job").state is JobState.DONE))
    codes = {r.error_code for _, responses in store.responses("job") for r in responses}
    assert codes == {"engine_crashed"}


def test_interactive_requests_are_handed_over_although_all_calls_are_taken(store: SqlJobStore) -> None:
    clock = HandClock()
    backend = SlowFarBackend(clock, every_s=1)
    pace = EAGER._replace(poll_s=0.0)
    loop = make_loop(
        store, mixed_pool(local=[], far=["x"], max_concurrent=2), backend, clock=clock, pace=pace
    )
    submit(store, make_queries(50))
    run_until(loop, passing(clock, 0.1, lambda: store.job("job").n_responses > 3))
    submit(store, make_queries(1, prefix="urgent"), job_id="ask", priority=INTERACTIVE)
    run_until(loop, passing(clock, 0.1, lambda: store.job("ask").state is JobState.DONE))
    assert store.job("job").n_responses < 10


def test_one_loop_serves_a_remote_engine_for_all(store: SqlJobStore) -> None:
    pool, clock = mixed_pool(local=[], far=["x"]), HandClock()
    backends = [SlowFarBackend(clock, every_s=1), SlowFarBackend(clock, every_s=1)]
    loops = [make_loop(store, pool, b, owner=f"loop{n}", clock=clock) for n, b in enumerate(backends)]
    submit(store, make_queries(30))
    loops[0].tick()

    def is_done() -> bool:
        loops[1].tick()
        return store.job("job").state is JobState.DONE

    run_until(loops[0], passing(clock, 1, is_done))
    assert [len(backend.loads) for backend in backends] == [1, 0]
    loops[0].shut_down()
    submit(store, make_queries(2), job_id="later")
    run_until(loops[1], passing(clock, 1, lambda: store.job("later").state is JobState.DONE))
    assert len(backends[1].loads) == 1


def test_a_remote_engine_without_work_is_left_after_a_while(store: SqlJobStore) -> None:
    clock = HandClock()
    loop = make_loop(store, mixed_pool(local=["a"], far=["x"]), FakeBackend(), clock=clock)
    submit(store, make_queries(2))
    run(loop, store)
    loop.tick()
    assert [report.engine_id for report in store.devices(30)] == ["a", "x"]
    clock.now += 61
    loop.tick()
    assert [report.engine_id for report in store.devices(30)] == ["a"]


def test_a_remote_engine_that_cannot_be_reached_fails_its_work_only(store: SqlJobStore) -> None:
    backend = FakeBackend(broken=["x"])
    submit(store, make_queries(5))
    progress = run(make_loop(store, mixed_pool(local=["a"], far=["x"]), backend), store)
    assert (progress.completed, progress.n_responses) == (5, 10)
    codes = {r.error_code for _, responses in store.responses("job") for r in responses}
    assert codes == {None, "engine_load_failed"}


def test_a_pool_of_remote_experts_loads_nothing_on_the_device(store: SqlJobStore) -> None:
    submit(store, make_queries(5))
    pool = mixed_pool(local=["a"], far=["x", "y"])
    composition = TextMajority(["x/0", "y/0"])
    progress = run(make_loop(store, pool, FakeBackend(), composition=composition), store)
    assert (progress.completed, progress.n_loads) == (5, 0)
