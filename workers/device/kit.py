"""Kit that all parts of one device loop share."""

from collections.abc import Callable
from typing import NamedTuple

from orchestrator.ports.clock import Clock
from orchestrator.ports.device_stores import DeviceStores
from orchestrator.ports.telemetry import NO_METER, Meter
from orchestrator.runtime.alarm import Alarm
from orchestrator.settings.schema import SchedulerSettings
from workers.device.call_traces import CallTraces
from workers.device.faults import Faults, WithheldEngines
from workers.device.ledger import Ledger
from workers.device.pace import Pace, Timers
from workers.device.strangers import Strangers


class Kit(NamedTuple):
    """`owner`: the loop's name, under which it holds leases; `clock`: monotonic seconds; `config_hash` and
    `serves`: the configuration it runs with, and the engines that it serves now; `alarm`: ends its wait for
    engines."""

    stores: DeviceStores
    owner: str
    ledger: Ledger
    faults: Faults
    strangers: Strangers
    timers: Timers
    clock: Clock
    pace: Pace
    settings: SchedulerSettings
    config_hash: str
    serves: Callable[[], tuple[str, ...]]
    alarm: Alarm
    meter: Meter = NO_METER


def make_kit(
    stores: DeviceStores,
    *,
    owner: str,
    clock: Clock,
    pace: Pace,
    settings: SchedulerSettings,
    config_hash: str,
    serves: Callable[[], tuple[str, ...]],
    meter: Meter = NO_METER,
    traces: CallTraces | None = None,
    withheld: WithheldEngines = dict,
) -> Kit:
    """The kit of one loop, whose parts share its name, clock and settings.

    Args:
        config_hash, serves: as of `Kit`.
        traces: records calls that ended; None = nobody does.
        withheld: engines that this process does not serve, and why.
    """
    return Kit(
        stores=stores,
        owner=owner,
        ledger=Ledger(
            stores.leases,
            owner=owner,
            lease_s=settings.lease_s,
            clock=clock,
            pace=pace,
            meter=meter,
            traces=traces,
        ),
        faults=Faults(stores.devices, owner=owner, clock=clock, pace=pace, withheld=withheld),
        strangers=Strangers(settings, clock, owner=owner, devices=stores.devices),
        timers=Timers(clock),
        clock=clock,
        pace=pace,
        settings=settings,
        config_hash=config_hash,
        serves=serves,
        alarm=Alarm(),
        meter=meter,
    )
