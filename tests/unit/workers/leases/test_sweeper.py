"""Who is dead gives back what it held; whoever only could not renew keeps it."""

from pathlib import Path

import pytest

from orchestrator.domain.devices import DeviceReport
from orchestrator.ports.jobs import SweepReport
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import make_loop, submit
from tests.fakes.work import FakeBackend, HandClock, make_pool, make_queries
from workers.leases.owners import berth_of, new_owner
from workers.leases.sweeper import Sweeper

LEASE_S = 15


@pytest.fixture
def store(tmp_path: Path):
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    submit(store, make_queries(4))
    loop = make_loop(store, make_pool("a"), FakeBackend())
    loop._advance()
    loop.step_aside()
    yield store
    store.close()


def dead_owner() -> str:
    """Like ours, but of a process that had our number before us."""
    host, namespace, pid, start, n = new_owner().split("|")
    return f"{host}|{namespace}|{pid}|{int(start) - 1}|{n}"


def sweeper_of(store: SqlJobStore, clock: HandClock) -> Sweeper:
    return Sweeper(leases=store, devices=store, clock=clock, grace_s=LEASE_S, max_attempts=3)


def test_what_a_dead_process_of_this_host_held_goes_back_at_once_and_its_places_are_forgotten(
    store: SqlJobStore,
) -> None:
    dead, alive = dead_owner(), new_owner()
    for owner in (dead, berth_of(dead, "1"), alive):
        store.report_device(DeviceReport(owner=owner, device="cpu"))
    failed = DeviceReport(owner=berth_of(dead, "failed a"), device="cpu", engine_id="a", state="down")
    store.report_device(failed)
    store.claim("a", owner=dead, limit=3, lease_s=3600)
    store.claim("a", owner=alive, limit=1, lease_s=3600)
    assert sweeper_of(store, HandClock()).sweep() == SweepReport()
    assert store.faults(60) == [], "whoever starts anew may load it anew"
    assert store.lease_owners() == [alive]
    assert [report.owner for report in store.devices(30)] == [alive]
    assert {a.attempt for a in store.claim("a", owner=alive, limit=9, lease_s=9).assignments} == {2}


def test_the_lease_of_an_owner_that_cannot_be_looked_up_goes_back_when_it_ran_out(store: SqlJobStore) -> None:
    store.claim("a", owner="elsewhere", limit=3, lease_s=-1)
    store.claim("a", owner="far", limit=1, lease_s=3600)
    assert sweeper_of(store, HandClock()).sweep() == SweepReport(n_released=3)
    assert store.lease_owners() == ["far"]


def test_after_an_outage_everybody_may_renew_for_as_long_as_a_lease(store: SqlJobStore) -> None:
    """The database answers again at 1000 s; leases that ran out meanwhile count from 1015 s on."""
    clock = HandClock()
    sweeper = sweeper_of(store, clock)
    sweeper.was_away()
    store.claim("a", owner="elsewhere", limit=3, lease_s=-1)
    clock.now += 14.9
    assert sweeper.sweep() == SweepReport()
    assert store.renew("elsewhere", lease_s=-1) == 3
    clock.now += 0.1
    assert sweeper.sweep() == SweepReport(n_released=3)


def test_the_dead_of_this_host_are_not_given_that_time(store: SqlJobStore) -> None:
    sweeper = sweeper_of(store, HandClock())
    sweeper.was_away()
    store.claim("a", owner=dead_owner(), limit=3, lease_s=3600)
    sweeper.sweep()
    assert store.lease_owners() == []
