"""Engines change in the background; what a device holds is known to the others."""

from pathlib import Path

import pytest

from orchestrator.domain.assignments import JobState
from orchestrator.domain.devices import DeviceReport, Rate
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import EAGER, make_loop, passing, run, run_until, submit
from tests.fakes.work import (
    FakeBackend,
    GatedBackend,
    HandClock,
    PreparingFakeBackend,
    TextMajority,
    always,
    make_pool,
    make_queries,
)
from workers.device.loop import DeviceLoop
from workers.leases.advancing import Advancer


@pytest.fixture
def store(tmp_path: Path):
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


def states(store: SqlJobStore) -> dict[str, tuple[str | None, str]]:
    """(engine, state) by owner."""
    return {report.owner: (report.engine_id, report.state) for report in store.devices(30)}


def test_the_others_see_what_a_device_loads_and_holds(store: SqlJobStore) -> None:
    backend = GatedBackend()
    loop = make_loop(store, make_pool("a"), backend)
    loop.tick()
    assert states(store) == {"loop": (None, "idle")}
    submit(store, make_queries(3))
    loop.tick()
    assert states(store) == {"loop": ("a", "loading")}
    backend.gate.set()
    run(loop, store)
    assert states(store) == {"loop": ("a", "resident")}
    loop.shut_down()
    assert states(store) == {}


def test_a_load_stops_neither_routing_nor_sweeping_nor_reports(store: SqlJobStore) -> None:
    backend, clock = GatedBackend(), HandClock()
    loop = make_loop(store, make_pool("a"), backend, clock=clock)
    submit(store, make_queries(3))
    run_until(loop, lambda: states(store) == {"loop": ("a", "loading")})
    store.claim("a", owner="dead", limit=1, lease_s=-1)
    store.forget_device("loop")
    submit(store, make_queries(3), job_id="second")
    clock.now += 60
    assert loop.tick()
    assert store.job("second").n_assignments == 3
    assert store.lease_owners() == []
    assert states(store) == {"loop": ("a", "loading")}
    backend.gate.set()
    assert run(loop, store).completed == 3


def test_a_device_chooses_again_when_another_one_announced_its_engine_first(store: SqlJobStore) -> None:
    pool, backend = make_pool("a", "b"), FakeBackend()
    submit(store, make_queries(3))
    loop = make_loop(store, pool, backend, pace=EAGER._replace(look_s=60))
    loop._advance()
    loop._books.look()
    store.report_device(DeviceReport(owner="other", device="gpu", engine_id="a", state="loading"))
    run_until(loop, lambda: loop.resident is not None)
    assert backend.loads == ["b"]


def test_loads_and_leaves_stand_in_the_timeline(store: SqlJobStore) -> None:
    submit(store, make_queries(3))
    loop = make_loop(store, make_pool("a", "b"), FakeBackend())
    run(loop, store)
    assert [(load.engine_id, load.left_at is None) for load in store.engine_loads(job_id="job")] == [
        ("a", False),
        ("b", True),
    ]
    loop.shut_down()
    assert all(load.left_at is not None for load in store.engine_loads(job_id="job"))


def test_measured_costs_are_remembered_and_read_at_the_start(store: SqlJobStore) -> None:
    submit(store, make_queries(3))
    loop = make_loop(store, make_pool("a"), FakeBackend())
    run(loop, store)
    loop.shut_down()
    stored = store.rates()["a", "cpu"]
    assert stored.load_s is not None
    assert stored.tokens_per_s is not None
    store.record_rate("b", "cuda:0", load_s=7.0)
    later = make_loop(store, make_pool("a", "b"), FakeBackend())
    later.tick()
    assert later.rates.load_s == {"a": stored.load_s, "b": 7.0}
    assert later.rates.tokens_per_s == {"a": stored.tokens_per_s}


def test_an_abandoned_load_is_closed_when_it_ends(
    store: SqlJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.device.loop.UNLOAD_S", 0.0)
    backend = GatedBackend()
    engines = []
    load = backend.load
    monkeypatch.setattr(backend, "load", lambda *args: engines.append(load(*args)) or engines[-1])
    loop = make_loop(store, make_pool("a"), backend)
    submit(store, make_queries(3))
    loop.tick()
    loop.shut_down()
    assert states(store) == {}
    backend.gate.set()
    assert loop._loader.wait(60)
    assert [engine.closed for engine in engines] == [True]
    assert run(loop, store).completed == 3


def test_the_old_engine_is_closed_before_the_next_one_is_loaded(store: SqlJobStore) -> None:
    backend = PreparingFakeBackend(n_fit=1)
    submit(store, make_queries(20))
    progress = run(make_loop(store, make_pool("a", "b", "c"), backend), store)
    assert (progress.completed, progress.n_loads) == (20, 3)


# ── ahead ─────────────────────────────────────────────────────────────────────────────────────────


def test_spares_are_started_first(store: SqlJobStore) -> None:
    backend = PreparingFakeBackend()
    loop = make_loop(store, make_pool("a", "b"), backend)
    loop.tick()
    loop.close()
    assert backend.journal == ["warm up a", "warm up b"]
    assert backend.is_closed


def test_the_next_engine_is_loaded_ahead_while_the_resident_one_works_off_its_last_shards(
    store: SqlJobStore,
) -> None:
    """60 requests of 11 tokens at 100 a second are 6.6 s of work; three loads of b are 3 s."""
    for engine_id in ("a", "b"):
        store.record_rate(engine_id, "cpu", load_s=1.0)
    clock = HandClock()
    backend = PreparingFakeBackend(batch=1, clock=clock)
    loop = make_loop(store, make_pool("a", "b"), backend, clock=clock, pace=EAGER._replace(max_shard=16))
    submit(store, make_queries(60))
    run_until(loop, passing(clock, 0.11, lambda: store.job("job").state is JobState.DONE))
    journal = [line.partition(" q")[0] for line in backend.journal if not line.startswith("warm")]
    n_before = journal.index("prepare b") - 1
    assert journal == [
        "load a",
        *["a"] * n_before,
        "prepare b",
        *["a"] * (60 - n_before),
        "load b",
        *["b"] * 60,
    ]
    assert 30 < n_before < 40
    assert store.rates()["b", "cpu"] == Rate(1.0, None), "the load of a prepared engine is no measurement"


def test_the_next_engine_is_looked_for_more_often_than_a_quick_load_takes(store: SqlJobStore) -> None:
    """By the books a needs 88 s, three loads of b 0.6 s: not yet. It needs 0.9 s, less than between two looks
    at the books."""
    store.record_rate("a", "cpu", load_s=0.2, tokens_per_s=1.0)
    store.record_rate("b", "cpu", load_s=0.2, tokens_per_s=100.0)
    clock = HandClock()
    backend = PreparingFakeBackend(batch=1, clock=clock)
    loop = make_loop(store, make_pool("a", "b"), backend, clock=clock, pace=EAGER._replace(look_s=1.0))
    submit(store, make_queries(8))
    run_until(loop, passing(clock, 0.11, lambda: store.job("job").state is JobState.DONE))
    assert backend.journal.index("prepare b") < backend.journal.index("load b")


def test_a_prepared_engine_that_is_not_wanted_any_more_is_discarded(store: SqlJobStore) -> None:
    clock = HandClock()
    backend = PreparingFakeBackend(batch=1, clock=clock)
    loop = make_loop(store, make_pool("a", "b"), backend, clock=clock)
    submit(store, make_queries(9))
    run_until(loop, passing(clock, 0.01, lambda: loop._loader.ahead == "b"))
    for assignment in store.claim("b", owner="other", limit=99, lease_s=99).assignments:
        assert assignment.engine_id == "b"
    run_until(loop, passing(clock, 0.01, lambda: loop._loader.ahead is None))
    assert loop._loader.wait(60)
    assert "discard" in backend.journal
    assert backend.loads == ["a"]


# ── several at once ───────────────────────────────────────────────────────────────────────────────


def test_several_engines_stay_resident_where_that_is_allowed(store: SqlJobStore) -> None:
    backend = FakeBackend(batch=4)
    loop = make_loop(store, make_pool("a", "b"), backend, max_resident=2)
    for job_id in ("job", "second"):
        submit(store, make_queries(40), job_id=job_id)
        run(loop, store, job_id=job_id)
    assert sorted(backend.loads) == ["a", "b"]
    assert set(states(store).values()) == {("a", "resident"), ("b", "resident")}


def test_the_engine_that_was_useful_longest_ago_leaves_first(store: SqlJobStore) -> None:
    backend = FakeBackend()
    loop = make_loop(store, make_pool("a", "b", "c"), backend, max_resident=2)
    for job_id, expert_id in enumerate(["a/0", "b/0", "a/0", "c/0", "a/0"]):
        loop._advancer._compositions = lambda _job, e=expert_id: TextMajority([e])
        submit(store, make_queries(3), job_id=str(job_id))
        run(loop, store, job_id=str(job_id))
    assert backend.loads == ["a", "b", "c"]


def test_an_engine_that_does_not_fit_beside_the_other_waits_for_its_place(store: SqlJobStore) -> None:
    submit(store, make_queries(40))
    backend = PreparingFakeBackend(batch=4, n_fit=1)
    progress = run(make_loop(store, make_pool("a", "b", "c"), backend, max_resident=2), store)
    assert (progress.completed, progress.failed, progress.n_loads) == (40, 0, 3)


def test_an_engine_that_fails_beside_another_one_is_tried_alone(store: SqlJobStore) -> None:
    class Narrow(FakeBackend):
        def __init__(self) -> None:
            super().__init__(batch=4)
            self.engines = []

        def load(self, spec: EngineSpec, adapters):
            if not all(engine.closed for engine in self.engines):
                self.journal.append(f"no room for {spec.id}")
                raise EngineLoadError(f"engine '{spec.id}' finds no room.")
            self.engines.append(super().load(spec, adapters))
            return self.engines[-1]

    submit(store, make_queries(40))
    backend = Narrow()
    progress = run(make_loop(store, make_pool("a", "b"), backend, max_resident=2), store)
    assert (progress.completed, progress.n_responses) == (40, 80)
    assert {r.error_code for _, rs in store.responses("job") for r in rs} == {None}
    assert "no room for b" in backend.journal


def half_routed(store: SqlJobStore, clock: HandClock) -> DeviceLoop:
    """A loop that takes no steps, before a job of which somebody has routed one query of two to `a`."""
    backend = FakeBackend()
    loop = make_loop(store, make_pool("a"), backend, clock=clock, steps=False)
    submit(store, make_queries(2))
    advancer = Advancer(
        jobs=store, steps=store, compositions=always(TextMajority(["a/0"])), engine_of={"a/0": "a"}, chunk=1
    )
    advancer.chunk()
    return loop


def test_a_device_waits_with_a_load_while_queries_are_being_routed(store: SqlJobStore) -> None:
    store.record_rate("a", "cpu", load_s=20.0)
    clock = HandClock()
    loop = half_routed(store, clock)
    for _ in range(20):
        loop.tick()
    assert states(store)["loop"] == (None, "idle")
    clock.now += 21
    run_until(loop, lambda: states(store)["loop"][0] == "a")


def test_it_waits_no_longer_once_everything_is_routed(store: SqlJobStore) -> None:
    store.record_rate("a", "cpu", load_s=20.0)
    clock = HandClock()
    loop = half_routed(store, clock)
    began = clock.now
    loop.tick()
    (left,) = store.take_ready(limit=9, for_s=60)
    store.advance([(left, TextMajority(["a/0"]).step([left])[0])], {"a/0": "a"})
    run_until(loop, lambda: states(store)["loop"][0] == "a")
    assert clock.now - began < 20
