from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.devices import LIVE_S, DeviceReport, DeviceState
from orchestrator.errors import StoreUnavailableError
from orchestrator.services.conditions import LOOK_S, EngineWatch
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from workers.leases.owners import loop_of


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    database = open_database(fresh_sqlite(tmp_path))
    yield SqlJobStore(database)
    database.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watch(store: SqlJobStore, clock: Clock, *engine_ids: str) -> EngineWatch:
    return EngineWatch(store, engine_ids=frozenset(engine_ids), loop_of=loop_of, clock=clock)


def report(store: SqlJobStore, owner: str, engine_id: str | None, state: DeviceState) -> None:
    store.report_device(DeviceReport(owner=owner, device="cpu", engine_id=engine_id, state=state))


def failed(store: SqlJobStore, owner: str, engine_id: str) -> None:
    report(store, f"{owner}+failed {engine_id}", engine_id, "down")


def test_what_no_device_has_takes_as_long_as_it_was_measured_to(store: SqlJobStore, clock: Clock) -> None:
    store.record_rate("a", "cpu", load_s=4.0)
    store.record_rate("b", "cpu", load_s=8.0)
    report(store, "x", "a", "resident")
    assert watch(store, clock, "a", "b", "c")().cold_s == {"b": 8.0, "c": 6.0}, "c: the mean of the others"


def test_an_engine_that_every_loop_failed_to_load_is_down(store: SqlJobStore, clock: Clock) -> None:
    report(store, "x", None, "idle")
    failed(store, "x", "a")
    assert watch(store, clock, "a", "b")().down == {"a"}


def test_an_engine_that_another_device_may_load_is_not_down(store: SqlJobStore, clock: Clock) -> None:
    report(store, "x", None, "idle")
    report(store, "y", None, "idle")
    failed(store, "x", "a")
    assert not watch(store, clock, "a")().down
    failed(store, "y", "a")
    assert watch(store, clock, "a")().down == {"a"}


def test_while_no_loop_lives_nothing_is_down(store: SqlJobStore, clock: Clock) -> None:
    failed(store, "x", "a")
    assert not watch(store, clock, "a")().down


def test_an_engine_that_some_device_has_is_not_down(store: SqlJobStore, clock: Clock) -> None:
    failed(store, "x", "a")
    report(store, "x", "a", "loading")
    assert not watch(store, clock, "a")().down


def test_engines_that_need_no_device_are_neither_cold_nor_down(store: SqlJobStore, clock: Clock) -> None:
    failed(store, "x", "a")
    conditions = watch(store, clock)()
    assert (dict(conditions.cold_s), conditions.down) == ({}, frozenset())


def test_devices_are_asked_once_a_second(store: SqlJobStore, clock: Clock) -> None:
    look = watch(store, clock, "a")
    assert "a" in look().cold_s
    report(store, "x", "a", "resident")
    assert "a" in look().cold_s
    clock.now = LOOK_S
    assert "a" not in look().cold_s


def test_while_the_database_is_away_the_last_state_stands(
    store: SqlJobStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = watch(store, clock, "a")
    before = look()

    def away(max_age_s: float) -> list[DeviceReport]:
        raise StoreUnavailableError(f"no answer for {max_age_s} s")

    monkeypatch.setattr(store, "devices", away)
    clock.now = LIVE_S
    assert look() is before
