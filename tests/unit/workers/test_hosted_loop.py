"""A device loop whose engines live in child processes: what breaks there costs a second try."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import JsonValue

from orchestrator.domain.experts import EngineSpec, Expert, Pool
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import EAGER, make_loop, run, run_until, submit
from tests.fakes.work import make_queries
from tests.unit.workers.engine_host.hosting import hosted
from workers.device.loop import DeviceLoop
from workers.engine_host.backend import HostedBackend
from workers.engine_host.engine import HostedEngine


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


def hosted_pool(*engine_ids: str, gib: float = 0.1, **options: JsonValue) -> Pool:
    specs = [
        EngineSpec(id=e, backend="scripted", model="none", memory_gib=gib, options=options)
        for e in engine_ids
    ]
    return Pool(experts=tuple(Expert(id=f"{spec.id}/0", engine=spec) for spec in specs))


def hosted_loop(store: SqlJobStore, pool: Pool, backend: HostedBackend, **settings: float) -> DeviceLoop:
    pace = EAGER._replace(look_s=0.05, poll_s=0.02)
    return make_loop(store, pool, lambda _name: backend, clock=time.monotonic, pace=pace, **settings)


def resident_engine(loop: DeviceLoop) -> HostedEngine:
    engine = loop._seats.lanes[0].seat._engine
    assert isinstance(engine, HostedEngine)
    return engine


def hang_then_break(
    store: SqlJobStore, log: Path, backend: HostedBackend, break_it: Callable[[int], None]
) -> DeviceLoop:
    """A loop over an engine that broke under four requests which it would never have answered."""
    rules: list[JsonValue] = [{"regex": ".", "hang": True, "times": 4}]
    loop = hosted_loop(store, hosted_pool("a", rules=rules, log=str(log)), backend)
    submit(store, make_queries(12))
    run_until(loop, lambda: loop.n_generated == 8, limit=100_000)
    break_it(resident_engine(loop).pid)
    return loop


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGSTOP])
def test_requests_of_a_child_that_dies_or_hangs_are_answered_by_a_new_one(
    store: SqlJobStore, tmp_path: Path, signal_: signal.Signals
) -> None:
    backend = hosted(hang_s=2.0)
    loop = hang_then_break(store, tmp_path / "log", backend, lambda pid: os.kill(pid, signal_))
    progress = run(loop, store, limit=100_000)
    loop.close()
    assert (progress.completed, progress.failed, progress.n_loads) == (12, 0, 2)
    assert progress.n_regenerated == 0


def test_a_child_that_dies_again_and_again_fails_its_requests(store: SqlJobStore, tmp_path: Path) -> None:
    """Three claims per assignment, as `max_attempts` says; the others are answered."""
    backend = hosted()
    rules: list[JsonValue] = [{"match": "bad", "exit_code": 7}]
    loop = hosted_loop(store, hosted_pool("a", rules=rules), backend)
    submit(store, [*make_queries(5), *make_queries(1, prefix="bad")])
    progress = run(loop, store, limit=100_000)
    loop.close()
    assert (progress.completed, progress.failed) == (5, 1)
    assert progress.n_loads == 3
    codes = {query.id: r.error_code for query, rs in store.responses("job") for r in rs}
    assert codes["bad0"] == "engine_crashed"


def test_the_next_engine_is_loaded_beside_the_resident_one_and_taken_over(store: SqlJobStore) -> None:
    backend = hosted()
    for engine_id in ("a", "b"):
        store.record_rate(engine_id, "cpu", load_s=60.0)
    pool = hosted_pool("a", "b", rules=[{"regex": ".", "delay_s": 0.1}])
    loop = hosted_loop(store, pool, backend, max_resident=1)
    submit(store, make_queries(20))
    progress = run(loop, store, limit=100_000)
    loop.close()
    assert (progress.completed, progress.n_loads, backend.n_loads) == (20, 2, 2)
    load_s = {engine_id: rate.load_s for (engine_id, _), rate in store.rates().items()}
    assert load_s["a"] != 60.0
    assert load_s["b"] == 60.0, "the load of a prepared engine is no measurement"


def test_engines_in_children_that_fit_together_stay_together(store: SqlJobStore) -> None:
    backend = hosted()
    loop = hosted_loop(store, hosted_pool("a", "b"), backend)
    for job_id in ("first", "second", "third"):
        submit(store, make_queries(20), job_id=job_id)
        assert run(loop, store, job_id=job_id, limit=100_000).completed == 20
    assert {report.engine_id for report in store.devices(30)} == {"a", "b"}
    loop.close()
    assert backend.n_loads == 2


def test_an_engine_in_a_child_sleeps_and_wakes_instead_of_being_loaded_again(store: SqlJobStore) -> None:
    """Each takes 1 GiB of 1.5: one at a time. The second job wakes what slept; nothing is loaded again."""
    backend = hosted()
    memory: JsonValue = {"gib": 1.0, "sleep_levels": [1]}
    loop = hosted_loop(store, hosted_pool("a", "b", gib=1.0, memory=memory), backend, memory_gib=1.5)
    for job_id in ("first", "second"):
        submit(store, make_queries(20), job_id=job_id)
        assert run(loop, store, job_id=job_id, limit=100_000).completed == 20
    kinds = [load.kind.value for load in store.engine_loads(job_id="second")]
    loop.close()
    assert backend.n_loads == 2
    assert kinds == ["wake"], "one of both was still there"
    assert {rate.memory_gib for rate in store.rates().values()} == {1.0}
    assert any(rate.wake_s is not None for rate in store.rates().values())


def test_a_child_that_is_killed_in_its_sleep_is_replaced_by_a_cold_load(store: SqlJobStore) -> None:
    backend = hosted()
    memory: JsonValue = {"gib": 1.0, "sleep_levels": [1, 2]}
    loop = hosted_loop(store, hosted_pool("a", "b", gib=1.0, memory=memory), backend, memory_gib=1.5)
    submit(store, make_queries(10), job_id="first")
    assert run(loop, store, job_id="first", limit=100_000).completed == 10
    run_until(loop, lambda: len(loop._loader.asleep) == 1, limit=100_000)
    (sleeper,) = loop._loader.asleep
    engine = loop._loader._sleepers._asleep[sleeper].engine  # type: ignore[union-attr]
    assert isinstance(engine, HostedEngine)
    os.kill(engine.pid, signal.SIGKILL)
    submit(store, make_queries(10), job_id="second")
    assert run(loop, store, job_id="second", limit=100_000).completed == 10
    kinds = [load.kind.value for load in store.engine_loads(job_id="second")]
    loop.close()
    assert "wake" not in kinds
    assert backend.n_loads == 3


def test_the_memory_of_an_engine_in_a_child_is_told_by_the_child(store: SqlJobStore) -> None:
    backend = hosted()
    (counted, grown) = hosted_pool("counted", "grown", memory={"gib": 2.0, "sleep_levels": [1]}).experts
    engine = backend.load(counted.engine, ())
    weighed = engine.weigh()
    assert weighed is not None
    assert (weighed.held_gib, weighed.peak_gib, weighed.device_free_gib) == (2.0, 2.0, None)
    assert engine.sleep_levels == (1,)
    engine.sleep(1)
    asleep = engine.weigh()
    assert asleep is not None
    assert (asleep.held_gib, asleep.peak_gib) == (0.0, 2.0)
    engine.wake()
    engine.close()
    assert engine.weigh() is None
    silent = backend.load(grown.engine.model_copy(update={"options": {}}), ())
    by_process = silent.weigh()
    assert by_process is not None
    assert 0.0 <= by_process.held_gib <= by_process.peak_gib < 1.0
    assert silent.sleep_levels == ()
    silent.close()
    backend.close()


def test_a_loop_that_stops_leaves_no_child_behind(store: SqlJobStore) -> None:
    backend = hosted(n_spares=1)
    loop = hosted_loop(store, hosted_pool("a"), backend)
    submit(store, make_queries(3))
    run(loop, store, limit=100_000)
    pid = resident_engine(loop).pid
    loop.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert backend._pools == {}
