"""Several loops on one database: they finish everything and load no engine twice without need."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.domain.assignments import JobState
from orchestrator.domain.devices import DeviceMemory, DeviceReport
from orchestrator.domain.experts import EngineSpec, Pool
from orchestrator.ports.engines import Engine
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_postgres, fresh_sqlite, postgres_is_reachable
from tests.fakes.loops import EAGER, make_loop, run, run_until, submit
from tests.fakes.work import FakeBackend, HandClock, TextMajority, make_pool, make_queries
from workers.device.loop import DeviceLoop


class CostlyLoads(FakeBackend):
    """Its loads take a minute, by its own clock."""

    def __init__(self, *, batch: int) -> None:
        super().__init__(batch=batch)
        self._spent_s = 0.0

    def clock(self) -> float:
        return time.monotonic() + self._spent_s

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        self._spent_s += 60
        return super().load(spec, adapters)


ENGINES = ("a", "b", "c", "d", "e")
PACE = EAGER._replace(look_s=0.01)
TICKS = 8
"""Of a loop between two looks at the job."""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlJobStore]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = fresh_sqlite(tmp_path)
        elif postgres_is_reachable():
            url = stack.enter_context(fresh_postgres())
        else:
            pytest.skip("no PostgreSQL server answers")
        store = SqlJobStore(open_database(url))
        stack.callback(store.close)
        yield store


def drive_together(loops: list[DeviceLoop], store: SqlJobStore) -> None:
    """Tick each loop in a thread of its own until the job is done."""

    def drive(loop: DeviceLoop) -> None:
        while store.job("job").state is JobState.RUNNING:
            for _ in range(TICKS):
                loop.tick()

    threads = [threading.Thread(target=drive, args=(loop,)) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("n_loops", [2, 3])
def test_loops_share_a_job_and_load_each_engine_once(store: SqlJobStore, n_loops: int) -> None:
    """The work of no engine takes half as long as its load, so that nothing is worth a second one."""
    submit(store, make_queries(60))
    backends = [CostlyLoads(batch=10) for _ in range(n_loops)]
    pool = make_pool(*ENGINES)
    loops = [
        make_loop(store, pool, backend, owner=f"loop{n}", clock=backend.clock, pace=PACE)
        for n, backend in enumerate(backends)
    ]
    for engine_id in ENGINES:
        store.record_rate(engine_id, "cpu", load_s=60.0, tokens_per_s=500.0)
    drive_together(loops, store)
    progress = store.job("job")
    assert (progress.completed, progress.n_responses, progress.n_regenerated) == (60, 300, 0)
    assert sorted(load for backend in backends for load in backend.loads) == list(ENGINES)
    generations = [line for b in backends for line in b.journal if not line.startswith("load")]
    assert len(generations) == len(set(generations)) == 300
    for loop in loops:
        loop.shut_down()
    assert store.devices(30) == []


def test_an_engine_with_much_work_is_shared(store: SqlJobStore) -> None:
    submit(store, make_queries(60))
    store.record_rate("a", "cpu", load_s=0.01, tokens_per_s=100.0)
    backends = [FakeBackend(batch=1), FakeBackend(batch=1)]
    pool, pace = make_pool("a"), PACE._replace(max_shard=16)
    loops = [
        make_loop(store, pool, backend, owner=f"loop{n}", clock=time.monotonic, pace=pace)
        for n, backend in enumerate(backends)
    ]
    drive_together(loops, store)
    assert store.job("job").completed == 60
    assert [backend.loads for backend in backends] == [["a"], ["a"]]


def test_the_engine_of_a_loop_that_is_gone_is_loaded_by_another(store: SqlJobStore) -> None:
    submit(store, make_queries(30))
    pool, backend = make_pool("a"), FakeBackend(batch=1)
    first = make_loop(store, pool, FakeBackend(batch=1), owner="first")
    second = make_loop(store, pool, backend, owner="second")
    while first.n_generated < 5:
        first.tick()
        second.tick()
    assert backend.loads == []
    first.shut_down()
    drive_together([second], store)
    assert store.job("job").completed == 30


def test_a_loop_without_steps_serves_while_another_advances(store: SqlJobStore) -> None:
    submit(store, make_queries(10))
    pool = make_pool("a", "b")
    composition = TextMajority(["a/0"], final="b/0")
    rung: list[int] = []
    device = make_loop(
        store,
        pool,
        FakeBackend(),
        owner="device",
        composition=composition,
        steps=False,
        on_committed=lambda: rung.append(store.job("job").n_responses),
    )
    for _ in range(3):
        device.tick()
    assert store.job("job").n_assignments == 0
    stepper = make_loop(store, pool, FakeBackend(), owner="stepper", composition=composition)
    while store.job("job").state is JobState.RUNNING:
        stepper._advance()
        device.tick()
    assert store.job("job").completed == 10
    assert rung == [10, 20], "once per stage: a bell for all responses of a commit"


def test_an_engine_that_does_not_load_here_is_loaded_elsewhere(store: SqlJobStore) -> None:
    broken, sound = FakeBackend(broken=["a"]), FakeBackend()
    pool = make_pool("a")
    first = make_loop(store, pool, broken, owner="first", clock=time.monotonic, pace=PACE)
    second = make_loop(store, pool, sound, owner="second", clock=time.monotonic, pace=PACE)
    second.tick()  # it lives, as the first one sees
    submit(store, make_queries(20))
    while not broken.loads:
        first.tick()
    drive_together([first, second], store)
    assert (store.job("job").completed, broken.loads, sound.loads) == (20, ["a"], ["a"])
    assert error_codes(store) == {None}


def test_an_engine_that_loads_nowhere_fails_its_work_as_soon_as_every_live_loop_has_tried(
    store: SqlJobStore,
) -> None:
    """Clocks stand still: nothing waits for the end of a cool-down."""
    backends = [FakeBackend(broken=["a"]) for _ in range(3)]
    pool = make_pool("a", "b")
    first, second, third = (
        make_loop(store, pool, backend, owner=f"loop{n}", clock=HandClock())
        for n, backend in enumerate(backends)
    )
    for loop in (first, second, third):
        loop.tick()
    submit(store, make_queries(20))
    run_until(first, lambda: backends[0].loads == ["a", "b"])
    run_until(second, lambda: backends[1].loads == ["a"])
    for loop in (first, second, first, second):
        loop.tick()
    assert "engine_load_failed" not in error_codes(store), "the third one may still load it"
    while store.job("job").state is JobState.RUNNING:
        for loop in (first, second, third):
            loop.tick()
    assert [backend.loads.count("a") for backend in backends] == [1, 1, 1]
    assert store.job("job").completed == 20
    assert error_codes(store) == {None, "engine_load_failed"}


def test_a_loop_that_died_is_not_waited_for_to_try_a_load(store: SqlJobStore) -> None:
    backend = FakeBackend(broken=["a"])
    first = make_loop(store, make_pool("a"), backend, owner="first", clock=HandClock())
    second = make_loop(store, make_pool("a"), FakeBackend(), owner="second", clock=HandClock())
    second.tick()
    submit(store, make_queries(20))
    run_until(first, lambda: bool(backend.loads))
    for _ in range(5):
        first.tick()
    assert store.job("job").state is JobState.RUNNING
    second.shut_down()
    run(first, store)
    assert (backend.loads, error_codes(store)) == (["a"], {"engine_load_failed"})


def error_codes(store: SqlJobStore) -> set[str | None]:
    return {r.error_code for _, responses in store.responses("job") for r in responses}


def test_a_slow_device_leaves_an_engine_to_a_quick_one_that_is_done_sooner_with_both(
    store: SqlJobStore,
) -> None:
    """The quick one loads in 1 s and needs 3 s for each engine; the slow one would load for 100 s. To a loop
    that takes the other for its equal, one of two engines each is best."""
    submit(store, make_queries(30))
    for engine_id in ("a", "b"):
        store.record_rate(engine_id, "slow", load_s=100.0, tokens_per_s=1.0)
        store.record_rate(engine_id, "quick", load_s=1.0, tokens_per_s=100.0)
    pool, backends = make_pool("a", "b"), [FakeBackend(batch=4), FakeBackend(batch=4)]
    slow, quick = (
        make_loop(store, pool, backend, owner=name, device=name, clock=HandClock(step_s=0.001))
        for name, backend in zip(("slow", "quick"), backends, strict=True)
    )
    quick.tick()
    while store.job("job").state is JobState.RUNNING:
        slow.tick()
        quick.tick()
    assert [sorted(backend.loads) for backend in backends] == [[], ["a", "b"]]


def test_an_engine_that_only_another_device_holds_is_left_to_it(store: SqlJobStore) -> None:
    """Of two devices the one with 4 GiB does not load an engine that takes 8, though it is free first."""
    submit(store, make_queries(3))
    backend = FakeBackend()
    experts = [
        expert.model_copy(update={"engine": expert.engine.model_copy(update={"memory_gib": gib})})
        for expert, gib in zip(make_pool("a", "b").experts, (8.0, 3.0), strict=True)
    ]
    small = make_loop(
        store, Pool(experts=tuple(experts)), backend, owner="small", device="small", memory_gib=4.0
    )
    memory = DeviceMemory(held_gib=6.0, free_gib=10.0)
    report = DeviceReport(owner="other", device="large", engine_id="c", state="resident", memory=memory)
    store.report_device(report)
    for _ in range(50):
        small.tick()
    assert backend.loads == ["b"]
