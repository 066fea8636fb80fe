"""What all parts of one device loop share."""

from typing import NamedTuple

from orchestrator.ports.clock import Clock
from orchestrator.settings.schema import SchedulerSettings
from workers.device.faults import Faults
from workers.device.ledger import LeaseStore, Ledger
from workers.device.pace import Pace, Timers


class Kit(NamedTuple):
    """`owner`: the loop's name, under which it holds leases; `clock`: monotonic seconds."""

    store: LeaseStore
    owner: str
    ledger: Ledger
    faults: Faults
    timers: Timers
    clock: Clock
    pace: Pace
    settings: SchedulerSettings


def make_kit(store: LeaseStore, *, owner: str, clock: Clock, pace: Pace, settings: SchedulerSettings) -> Kit:
    return Kit(
        store=store,
        owner=owner,
        ledger=Ledger(store, owner=owner, lease_s=settings.lease_s, clock=clock, pace=pace),
        faults=Faults(clock, pace),
        timers=Timers(clock),
        clock=clock,
        pace=pace,
        settings=settings,
    )
