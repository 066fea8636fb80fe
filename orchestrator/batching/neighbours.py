"""The live devices as one of them sees them, as slots for a planner."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from orchestrator.batching.devices import EQUAL, Device
from orchestrator.batching.packing import Need, Slot
from orchestrator.batching.rates import Rates
from orchestrator.domain.assignments import EngineBacklog


class Neighbour(NamedTuple):
    """Another live device, and what it has.

    Attributes:
        device: relative to the one that sees it.
        engine_id: resident or loading there; `loading_s`: for how long it has been loading, None = resident.
        ahead_id: loaded there beside it, to be served next; `ahead_s`: for how long.
        beside: further engines that are resident there.
        serves: the engines that it may load; None = any.
    """

    device: Device = EQUAL
    engine_id: str | None = None
    loading_s: float | None = None
    ahead_id: str | None = None
    ahead_s: float = 0.0
    beside: tuple[str, ...] = ()
    serves: frozenset[str] | None = None


class Neighbours(NamedTuple):
    """A device's knowledge of the others and of memory.

    Attributes:
        mine: this device; only its memory counts, its seconds are those that all are counted in.
        others: the other live devices; None = equal ones, as far as the backlog tells.
        memory_gib: that an engine takes; of others it is not known, and they fit.
        hides: whether devices load the next engine while they work, where two fit.
        ahead_id: the engine that this device loads beside what it has; `ahead_s`: for how long.
        beside: engines that this device has in other places than the one that is chosen for.
    """

    mine: Device = EQUAL
    others: tuple[Neighbour, ...] | None = None
    memory_gib: Mapping[str, float] = MappingProxyType({})
    hides: bool = False
    ahead_id: str | None = None
    ahead_s: float = 0.0
    beside: tuple[str, ...] = ()

    @property
    def differ(self) -> bool:
        """True if some device is known to be unlike this one."""
        return any(other.device != self.mine for other in self.others or ())

    def holds(self, engine_id: str) -> bool:
        """True if this device may load an engine: it fits, or fits nowhere, and nobody has more memory."""
        needed = self.memory_gib.get(engine_id, 0.0)
        most = max((self.mine.memory_gib, *(other.device.memory_gib for other in self.others or ())))
        return self.mine.memory_gib >= min(needed, most)

    def holds_both(self, engine_id: str, other_id: str, device: Device | None = None) -> bool:
        """True if two engines fit a device at once; None = this one."""
        needed = self.memory_gib.get(engine_id, 0.0) + self.memory_gib.get(other_id, 0.0)
        return needed <= (device or self.mine).memory_gib

    def needs(self, items: Sequence[EngineBacklog], rates: Rates) -> list[Need]:
        """The waiting work on a planner's terms."""
        return [
            Need(
                item.engine_id,
                rates.load(item.engine_id),
                rates.work(item),
                self.memory_gib.get(item.engine_id, 0.0),
            )
            for item in items
        ]

    def slot(self, needs: Sequence[Need], resident: str | None) -> Slot:
        """This device as a planner sees it.

        Args:
            resident: engine that it has; None = none.
        """
        loads = {need.engine_id: need.load_s for need in needs}
        ahead_id = self.ahead_id if self.ahead_id in loads else None
        left_s = max(0.0, loads.get(ahead_id or "", 0.0) - self.ahead_s)
        hides = self._hides(needs, self.mine)
        here = tuple(engine_id for engine_id in self.beside if engine_id in loads)
        return Slot(resident, 0.0, self.mine, hides=hides, ahead_id=ahead_id, ahead_s=left_s, beside=here)

    def slots_elsewhere(
        self, items: Sequence[EngineBacklog], needs: Sequence[Need], rates: Rates, *, n_devices: int
    ) -> list[Slot]:
        """The other devices: those that serve one of these engines, those that load one, and the others.

        Args:
            n_devices: that are alive, this one included, where nothing else is known of them.
        """
        if self.others is None:
            hides = self._hides(needs, EQUAL)
            taken = _counted(items, rates, hides=hides)
            return [*taken, *[Slot(hides=hides)] * max(0, n_devices - len(taken) - 1)]
        slots = [self._slot_of(other, items, needs, rates) for other in self.others]
        return sorted(slots, key=lambda slot: (slot.engine_id is None, slot.is_loading))

    def _slot_of(
        self, other: Neighbour, items: Sequence[EngineBacklog], needs: Sequence[Need], rates: Rates
    ) -> Slot:
        known = {item.engine_id: item for item in items}
        loads = {need.engine_id: other.device.load_s(need.engine_id, need.load_s) for need in needs}
        left_s = max(0.0, loads.get(other.ahead_id or "", 0.0) - other.ahead_s)
        slot = Slot(
            device=other.device,
            hides=self._hides(needs, other.device),
            ahead_id=other.ahead_id if other.ahead_id in loads else None,
            ahead_s=left_s,
            serves=other.serves,
        )
        if other.loading_s is not None:
            if other.engine_id not in loads:
                return slot
            ready_s = max(0.0, loads[other.engine_id] - other.loading_s)
            return slot._replace(engine_id=other.engine_id, ready_s=ready_s, is_loading=True)
        here = [engine_id for engine_id in (other.engine_id, *other.beside) if engine_id in known]
        if not here:
            return slot
        ready_s = sum(other.device.work_s(e, _leased_s(known[e], rates)) for e in here)
        return slot._replace(engine_id=here[0], ready_s=ready_s, beside=tuple(here[1:]))

    def _hides(self, needs: Sequence[Need], device: Device) -> bool:
        """Whether any two of these engines that fit the device by themselves fit it at once."""
        if not self.hides:
            return False
        fitting = sorted(need.memory_gib for need in needs if need.memory_gib <= device.memory_gib)
        return sum(fitting[-2:]) <= device.memory_gib


ALONE = Neighbours()


def _counted(items: Sequence[EngineBacklog], rates: Rates, *, hides: bool) -> list[Slot]:
    """Equal devices that serve these engines, then those that load them."""
    resident, loading = [], []
    for item in items:
        load_s = rates.load(item.engine_id)
        loading += [
            Slot(item.engine_id, max(0.0, load_s - since), is_loading=True, hides=hides)
            for since in item.loading_s
        ]
        n = item.n_devices_elsewhere - len(item.loading_s)
        leased_s = rates.seconds(item.engine_id, item.leased_tokens)
        resident += [Slot(item.engine_id, leased_s / n, hides=hides) for _ in range(n)]
    return resident + loading


def _leased_s(item: EngineBacklog, rates: Rates) -> float:
    """Seconds of what each device that serves an engine has claimed of it."""
    n_serving = max(1, item.n_devices_elsewhere - len(item.loading_s))
    return rates.seconds(item.engine_id, item.leased_tokens) / n_serving
