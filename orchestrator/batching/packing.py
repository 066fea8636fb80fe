"""Loads and work on devices so that the last one is done early: LPT with planned splitting.

For a given finish time C, families go largest first, whole where they fit, else in stints of at most what
a device still has room for, each of which pays the load again; the least C that fits is found by halving.
This is MULTIFIT (dual approximation) for splittable families with set-up times; the guarantees known for the
problem are in arXiv:1810.01223. On devices of different speed a family goes where it costs least of what
the devices could do instead, and never where memory does not hold it.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.batching.devices import EQUAL, Device
from orchestrator.batching.prices import ROUNDS, Cost, filled, repriced
from orchestrator.batching.rooms import HidingRoom, Room

TOLERANCE = 0.005
"""A plan this close to the shortest one found is as good."""

LEAST_SHARE = 0.1
"""A load is paid again only for at least this part of its own seconds of work."""


_ROUNDING_S = 1e-9


class Need(NamedTuple):
    """An engine's waiting work, what a load of it takes, both in seconds of one device (`EQUAL`), and the
    memory without which a device cannot hold it."""

    engine_id: str
    load_s: float
    work_s: float
    memory_gib: float = 0.0


class Slot(NamedTuple):
    """A device as a planner sees it.

    Attributes:
        engine_id: what it has, or loads; `ready_s`: in how many seconds that is free to serve.
        is_loading: it loads that engine now; else it may begin another load at once, if it hides loads.
        hides: it loads the next engine while it works for another.
        ahead_id: an engine that it loads beside what it has, there in `ahead_s` seconds.
        beside: further engines that it has.
        serves: engines that may be put there; None = any.
    """

    engine_id: str | None = None
    ready_s: float = 0.0
    device: Device = EQUAL
    is_loading: bool = False
    hides: bool = False
    ahead_id: str | None = None
    ahead_s: float = 0.0
    beside: tuple[str, ...] = ()
    serves: frozenset[str] | None = None

    @property
    def here(self) -> tuple[str, ...]:
        """Engines that it has, or loads to serve them first."""
        return self.beside if self.engine_id is None else (self.engine_id, *self.beside)

    def may_hold(self, need: Need, *, most_gib: float) -> bool:
        """True if an engine may be put there; `most_gib`: the largest memory of any device."""
        fits = self.device.memory_gib >= min(need.memory_gib, most_gib)
        return fits and (self.serves is None or need.engine_id in self.serves)


class Stint(NamedTuple):
    """Part of an engine's work on one device, in its own seconds; `load_s` is 0 where the engine is already
    there."""

    engine_id: str
    load_s: float
    work_s: float


_There = tuple[dict[str, list[tuple[int, float]]], dict[str, list[tuple[int, float]]]]
"""Slots that have an engine, by engine, and those that load it ahead; with the seconds that its load still
takes there."""


class Packing(NamedTuple):
    """Stints of each slot, in the order of the slots, and when the last one is done."""

    stints: tuple[tuple[Stint, ...], ...]
    finish_s: float


def pack(needs: Sequence[Need], slots: Sequence[Slot], *, asks: int | None = None) -> Packing:
    """A short schedule for all needs on one or more slots.

    A slot's own engine comes first on it, and slots are filled from the left: of several with one
    engine, the last is the first to be left free for other engines. What fits no device is put where there is
    most memory: its load will tell.

    Args:
        asks: the slot that is planned for: of several with one engine it is the first to be left free.
    """
    work = [need for need in needs if need.work_s > 0]
    if not work:
        return Packing(tuple(() for _ in slots), max((slot.ready_s for slot in slots), default=0.0))
    there: _There = ({}, {})
    for ix, slot in sorted(enumerate(slots), key=lambda each: each[0] == asks):
        for engine_id in slot.here:
            there[0].setdefault(engine_id, []).append((ix, 0.0))
        if slot.ahead_id is not None:
            there[1].setdefault(slot.ahead_id, []).append((ix, slot.ahead_s))
    costs = [_costs(need, slots) for need in work]
    least_s = _area_bound(work, costs, slots)
    speeds = [slot.device.speed for slot in slots]
    packing = _shortest(costs, slots, there, _Way(speeds, _largest_first), least_s)
    packing = _shorter(costs, slots, there, _Way(speeds, _longest_load_first), least_s, packing)
    if not _is_plain(slots):
        way = _Way(_prices(costs, slots, packing.finish_s), _longest_load_first)
        packing = _shorter(costs, slots, there, way, least_s, packing)
    return packing


def _shorter(
    costs: Sequence["_Cost"],
    slots: Sequence[Slot],
    there: _There,
    way: "_Way",
    least_s: float,
    known: Packing,
) -> Packing:
    """The shortest packing of one way, if it is shorter than one that is known by more than the tolerance."""
    if _packed(costs, slots, there, way, known.finish_s * (1 - TOLERANCE)) is None:
        return known
    return min(known, _shortest(costs, slots, there, way, least_s), key=lambda packing: packing.finish_s)


def _shortest(
    costs: Sequence["_Cost"],
    slots: Sequence[Slot],
    there: _There,
    way: "_Way",
    least_s: float,
) -> Packing:
    """The shortest packing that is found in one way, not below `least_s`."""
    low = high = least_s
    best = _packed(costs, slots, there, way, high)
    while best is None:
        low, high = high, 1.5 * high
        best = _packed(costs, slots, there, way, high)
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        tried = _packed(costs, slots, there, way, middle)
        low, high, best = (middle, high, best) if tried is None else (low, middle, tried)
    return Packing(tuple(tuple(stints) for stints in best), high)


def _prices(costs: Sequence["_Cost"], slots: Sequence[Slot], seconds: float) -> list[float]:
    """Prices of the slots' seconds if all is to be done within a time; see `batching.prices`."""
    devices = [slot.device for slot in slots]
    kinds: dict[int, int] = {}  # of a slot: the first slot with the same device
    for ix, device in enumerate(devices):
        kinds[ix] = devices.index(device)
    firsts = sorted(set(kinds.values()))
    n = [sum(kind == first for kind in kinds.values()) for first in firsts]
    of_kinds = [
        [
            Cost(cost.load_s[ix], cost.work_s[ix], k) if ix in cost.holders else Cost(math.inf, math.inf, k)
            for ix, k in zip(firsts, n, strict=True)
        ]
        for cost in costs
    ]
    prices = [devices[ix].speed for ix in firsts]
    for _ in range(ROUNDS):
        wanted = [0.0] * len(firsts)
        for of_kind in of_kinds:
            parts = filled(of_kind, prices, seconds, has_loads=True)
            wanted = [a + part.seconds for a, part in zip(wanted, parts, strict=True)]
        prices = repriced(prices, wanted, [k * seconds for k in n])
    of_first = dict(zip(firsts, prices, strict=True))
    return [of_first[kinds[ix]] for ix in range(len(slots))]


def _is_plain(slots: Sequence[Slot]) -> bool:
    """Whether the devices are equal, so that it does not matter on which of them a load is paid."""
    return all(slot.device is EQUAL for slot in slots)


class _Cost(NamedTuple):
    """A need's load and work in each slot's own seconds, and the slots that can hold it."""

    need: Need
    load_s: Sequence[float]
    work_s: Sequence[float]
    holders: Sequence[int]


_Rest = tuple[_Cost, float]
"""A need, and the part of its work that is to be placed."""


class _Way(NamedTuple):
    """A way to pack: what a second of each slot costs, and which needs go first."""

    prices: Sequence[float]
    order: Callable[[_Rest], tuple[float, str]]


def _largest_first(rest: _Rest) -> tuple[float, str]:
    cost, left = rest
    return -(cost.need.load_s + left * cost.need.work_s), cost.need.engine_id


def _longest_load_first(rest: _Rest) -> tuple[float, str]:
    """For devices that load at different speeds: whose load is long has the fewest places."""
    return -rest[0].need.load_s, rest[0].need.engine_id


def _costs(need: Need, slots: Sequence[Slot]) -> _Cost:
    most = max(slot.device.memory_gib for slot in slots)
    holders = [ix for ix, slot in enumerate(slots) if slot.may_hold(need, most_gib=most)]
    holders = holders or list(range(len(slots)))
    if _is_plain(slots):
        return _Cost(need, [need.load_s] * len(slots), [need.work_s] * len(slots), holders)
    loads = [slot.device.load_s(need.engine_id, need.load_s) for slot in slots]
    return _Cost(need, loads, [slot.device.work_s(need.engine_id, need.work_s) for slot in slots], holders)


def _area_bound(needs: Sequence[Need], costs: Sequence[_Cost], slots: Sequence[Slot]) -> float:
    """Seconds that the devices need at least together; without loads where they can be hidden."""
    here = {engine_id for slot in slots for engine_id in (*slot.here, slot.ahead_id)}
    total = 0.0
    for need, cost in zip(needs, costs, strict=True):
        is_free = need.engine_id in here or any(slot.hides for slot in slots)
        total += min(
            slots[ix].device.speed * (cost.work_s[ix] + (0.0 if is_free else cost.load_s[ix]))
            for ix in cost.holders
        )
    speeds = sum(slot.device.speed for slot in slots)
    return (total + sum(slot.ready_s * slot.device.speed for slot in slots)) / speeds


def _packed(
    costs: Sequence[_Cost],
    slots: Sequence[Slot],
    there: _There,
    way: "_Way",
    finish_s: float,
) -> list[list[Stint]] | None:
    """Stints by slot, all done by `finish_s`; None where that does not fit.

    Args:
        there: see `_There`.
    """
    rooms = [_room(slot, finish_s) for slot in slots]
    stints: list[list[Stint]] = [[] for _ in slots]
    rest = [(cost, 1.0) for cost in costs]
    for of_engine, is_ahead in zip(there, (False, True), strict=True):
        for n, (cost, left) in enumerate(rest):
            for ix, load_s in of_engine.get(cost.need.engine_id, ()):
                room = rooms[ix]
                share = min(left * cost.work_s[ix], room.gap(load_s) if is_ahead else room.here())
                if share > 0:
                    place = room.take_ahead(load_s, share) if is_ahead else room.take_here(share)
                    stints[ix].insert(place, Stint(cost.need.engine_id, load_s, share))
                    left -= share / cost.work_s[ix]
            rest[n] = (cost, left)
    rest = [(cost, left) for cost, left in rest if left * cost.need.work_s > _ROUNDING_S]
    for cost, left in sorted(rest, key=way.order):
        if not _placed(cost, left, way.prices, rooms, stints):
            return None
    return stints


def _room(slot: Slot, finish_s: float) -> Room:
    if slot.hides:
        return HidingRoom(finish_s, slot.ready_s, is_loading=slot.is_loading)
    return Room(finish_s, slot.ready_s)


def _placed(
    cost: _Cost, left: float, prices: Sequence[float], rooms: list[Room], stints: list[list[Stint]]
) -> bool:
    """Whether the part `left` of a family found room: whole where that costs least and fits best, else cut by
    the gaps that cost least for what they do."""
    while left > 0:
        gaps = {ix: rooms[ix].gap(cost.load_s[ix]) for ix in cost.holders}
        whole = [ix for ix, gap in gaps.items() if gap >= left * cost.work_s[ix]]
        if whole:
            ix = min(
                whole, key=lambda ix: (_price(cost, left * cost.work_s[ix], ix, prices, rooms), gaps[ix])
            )
        else:
            gaps = {ix: gap for ix, gap in gaps.items() if gap > _ROUNDING_S}
            if not gaps:
                return False
            ix = min(
                gaps,
                key=lambda ix: _price(cost, gaps[ix], ix, prices, rooms) / gaps[ix] * cost.work_s[ix],
            )
        share = min(left * cost.work_s[ix], gaps[ix])
        if share <= 0 or share < min(left * cost.work_s[ix], LEAST_SHARE * cost.load_s[ix]):
            return False
        place = rooms[ix].take(cost.load_s[ix], share)
        stints[ix].insert(place, Stint(cost.need.engine_id, cost.load_s[ix], share))
        left -= share / cost.work_s[ix]
        if left * cost.need.work_s <= _ROUNDING_S:
            return True
    return True


def _price(cost: _Cost, work_s: float, ix: int, prices: Sequence[float], rooms: Sequence[Room]) -> float:
    """What work of a family costs in a slot, its load included as far as it is not hidden."""
    return round(prices[ix] * rooms[ix].growth_s(cost.load_s[ix], work_s), 6)
