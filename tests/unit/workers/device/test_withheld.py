"""Engines that a worker does not serve although its pool has them: others do, and everybody is told why."""

from collections.abc import Mapping

import pytest

from orchestrator.domain.assignments import INTERACTIVE, JobState
from orchestrator.domain.devices import LIVE_S
from orchestrator.domain.engines import EngineState, engine_states
from orchestrator.domain.fleet import Withheld
from orchestrator.store import SqlJobStore
from tests.fakes.loops import EAGER, make_setup, passing, run_until, submit
from tests.fakes.work import FakeBackend, HandClock, make_pool, make_queries
from workers.device.loop import DeviceLoop
from workers.device.wiring import make_device_loop
from workers.leases.owners import loop_of

DIFFER = Withheld("weights differ: file w.", "Copy them.")
READING = Withheld("its weights are being read.", "Wait.", is_lasting=False)


def loop_without(
    store: SqlJobStore,
    clock: HandClock,
    withheld: Mapping[str, Withheld],
    backend: FakeBackend,
    *,
    owner: str = "loop",
    steps: bool = True,
    **settings: float,
) -> DeviceLoop:
    setup = make_setup(store, make_pool("a", "b"), backend, steps=steps, **settings)
    return make_device_loop(setup._replace(withheld=lambda: withheld), owner=owner, clock=clock, pace=EAGER)


def state_of(store: SqlJobStore) -> EngineState:
    devices, faults = store.devices(LIVE_S), store.faults(LIVE_S)
    return engine_states(["a"], devices=devices, faults=faults, loop_of=loop_of)["a"]


@pytest.mark.parametrize(("withheld", "state"), [(DIFFER, "down"), (READING, "cooling")])
def test_an_engine_that_all_withhold_is_told_with_the_reason_and_never_loaded(
    store: SqlJobStore, clock: HandClock, withheld: Withheld, state: str
) -> None:
    backend = FakeBackend()
    submit(store, make_queries(10))
    loop = loop_without(store, clock, {"a": withheld}, backend)
    run_until(loop, passing(clock, 0.5, lambda: store.job("job").n_responses == 10))
    assert set(backend.loads) == {"b"}
    found = state_of(store)
    assert (found.state, found.why, found.heal) == (state, withheld.why, withheld.heal)
    [report] = store.devices(LIVE_S)
    assert report.serves == ("b",)


def test_work_waits_for_an_engine_that_is_served_again_and_then_is_done(
    store: SqlJobStore, clock: HandClock
) -> None:
    withheld = {"a": READING}
    submit(store, make_queries(10))
    loop = loop_without(store, clock, withheld, FakeBackend())
    run_until(loop, passing(clock, 10, lambda: store.job("job").n_responses == 10))
    withheld.clear()
    run_until(loop, passing(clock, 0.5, lambda: store.job("job").state is JobState.DONE))
    assert [a.error_code for _, a in store.answers("job")] == [None] * 10
    assert store.faults(LIVE_S) == []
    assert state_of(store).is_well


def test_another_worker_serves_what_one_withholds_and_nobody_calls_it_down(
    store: SqlJobStore, clock: HandClock
) -> None:
    one, two = FakeBackend(), FakeBackend()
    submit(store, make_queries(10))
    withholds = loop_without(store, clock, {"a": DIFFER}, one, owner="one")
    serves = loop_without(store, clock, {}, two, owner="two", steps=False)
    withholds.tick()
    serves.tick()
    assert state_of(store).is_well

    def is_done() -> bool:
        serves.tick()
        return store.job("job").state is JobState.DONE

    run_until(withholds, passing(clock, 0.5, is_done))
    assert "a" not in one.loads
    assert "a" in two.loads


def test_a_question_for_what_nobody_serves_fails_with_the_reason_after_its_patience(
    store: SqlJobStore, clock: HandClock
) -> None:
    submit(store, make_queries(1), job_id="ask", priority=INTERACTIVE)
    # How long work has waited is told by the database's clock, which no hand moves.
    loop = loop_without(
        store, clock, {"a": DIFFER, "b": DIFFER}, FakeBackend(), engine_down_interactive_s=0.2
    )
    run_until(loop, passing(clock, 0.5, lambda: store.job("ask").state is JobState.DONE))
    errors = {r.error for _, responses in store.responses("ask") for r in responses}
    assert errors == {DIFFER.why}


def test_a_batch_is_not_failed_at_once_by_weights_that_somebody_may_mend(
    store: SqlJobStore, clock: HandClock
) -> None:
    submit(store, make_queries(5))
    loop = loop_without(store, clock, {"a": DIFFER, "b": DIFFER}, FakeBackend(), engine_down_s=3600)
    for _ in range(100):
        clock.now += 10
        loop.tick()
    assert store.job("job").state is JobState.RUNNING
    assert store.job("job").n_responses == 0


def test_an_engine_that_is_resident_when_it_is_withheld_gets_no_more_work(
    store: SqlJobStore, clock: HandClock
) -> None:
    withheld: dict[str, Withheld] = {}
    submit(store, make_queries(5))
    loop = loop_without(store, clock, withheld, FakeBackend())
    run_until(loop, passing(clock, 0.5, lambda: store.job("job").state is JobState.DONE))
    resident = loop.resident
    assert resident is not None
    withheld[resident] = DIFFER
    submit(store, make_queries(5, prefix="r"), job_id="later")
    run_until(loop, passing(clock, 0.5, lambda: store.job("later").n_responses == 5))
    answered = [r.expert_id for _, rs in store.responses("later") for r in rs]
    assert not [expert for expert in answered if expert.startswith(f"{resident}/")]
