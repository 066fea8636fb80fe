"""Live devices by what they report, as one of them sees them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.batching.devices import Device
from orchestrator.batching.kinds import Kinds
from orchestrator.batching.neighbours import Neighbour
from orchestrator.domain.devices import REMOTE, STEPS, DeviceReport

LoopOf = Callable[[str], str]
"""The device that a place belongs to, by the owner that it reports under."""


class ReportedDevice(NamedTuple):
    """A device with the reports of all its places, at least one."""

    owner: str
    reports: Sequence[DeviceReport]

    @property
    def name(self) -> str:
        """Name of the device as its worker calls it; two hosts may have devices of one name."""
        return self.reports[0].device

    @property
    def residents(self) -> list[str]:
        """Engines that it has, by the order of its places."""
        return [r.engine_id for r in self.reports if r.engine_id is not None and r.state == "resident"]

    @property
    def loading(self) -> DeviceReport | None:
        """The report of the engine that it loads: one at a time."""
        return next((r for r in self.reports if r.engine_id is not None and r.state == "loading"), None)

    @property
    def memory_gib(self) -> float | None:
        """Memory that its engines hold, and what it has left; None = not known."""
        known = [r.memory for r in self.reports if r.memory is not None]
        free = [memory.free_gib for memory in known if memory.free_gib is not None]
        if not free:
            return None
        return min(free) + math.fsum(memory.held_gib or 0.0 for memory in known)

    @property
    def serves(self) -> frozenset[str] | None:
        """Engines that it may load; None = not known."""
        told = [r.serves for r in self.reports if r.serves is not None]
        return frozenset(engine_id for serves in told for engine_id in serves) if told else None


def devices_of(reports: Iterable[DeviceReport], *, loop_of: LoopOf) -> list[ReportedDevice]:
    """Devices that serve engines of their own, by owner. A device has as many places as engines."""
    places: dict[str, list[DeviceReport]] = {}
    for report in sorted(reports, key=lambda report: report.owner):
        if report.device not in (REMOTE, STEPS):
            places.setdefault(loop_of(report.owner), []).append(report)
    return [ReportedDevice(owner, found) for owner, found in sorted(places.items())]


def neighbours_of(
    devices: Iterable[ReportedDevice], *, kinds: Kinds, seen_from: str, needed_gib: Mapping[str, float]
) -> tuple[Neighbour, ...]:
    """Devices as one sees them that is of the kind `seen_from`.

    Args:
        needed_gib: memory that engines take.
    """
    return tuple(_neighbour(device, kinds, seen_from, needed_gib) for device in devices)


def roomy(memory_gib: float | None, needed_gib: Mapping[str, float]) -> float:
    """Memory of a device in whole GiB; without end where any two engines fit, or nobody knows it: how much
    more there is makes no device unlike another."""
    if memory_gib is None or memory_gib >= sum(sorted(needed_gib.values())[-2:]):
        return math.inf
    return float(math.floor(memory_gib))


def _neighbour(
    reported: ReportedDevice, kinds: Kinds, seen_from: str, needed_gib: Mapping[str, float]
) -> Neighbour:
    memory_gib = roomy(reported.memory_gib, needed_gib)
    device: Device = kinds.device(reported.name, seen_from=seen_from)
    if memory_gib != math.inf:
        device = device._replace(memory_gib=memory_gib)
    residents, loading = reported.residents, reported.loading
    if loading is not None and not residents:
        return Neighbour(device, loading.engine_id, loading.state_s, serves=reported.serves)
    return Neighbour(
        device,
        residents[0] if residents else None,
        ahead_id=None if loading is None else loading.engine_id,
        ahead_s=0.0 if loading is None else loading.state_s,
        beside=tuple(residents[1:]),
        serves=reported.serves,
    )
