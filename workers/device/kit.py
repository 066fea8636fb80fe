"""Kit that all parts of one device loop share."""

from typing import NamedTuple

from orchestrator.ports.clock import Clock
from orchestrator.ports.jobs import DeviceStores
from orchestrator.settings.schema import SchedulerSettings
from workers.device.faults import Faults
from workers.device.ledger import Ledger
from workers.device.pace import Pace, Timers


class Kit(NamedTuple):
    """`owner`: the loop's name, under which it holds leases; `clock`: monotonic seconds."""

    stores: DeviceStores
    owner: str
    ledger: Ledger
    faults: Faults
    timers: Timers
    clock: Clock
    pace: Pace
    settings: SchedulerSettings


def make_kit(
    stores: DeviceStores, *, owner: str, clock: Clock, pace: Pace, settings: SchedulerSettings
) -> Kit:
    return Kit(
        stores=stores,
        owner=owner,
        ledger=Ledger(stores.leases, owner=owner, lease_s=settings.lease_s, clock=clock, pace=pace),
        faults=Faults(clock, pace),
        timers=Timers(clock),
        clock=clock,
        pace=pace,
        settings=settings,
    )
