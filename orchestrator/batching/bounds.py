"""Seconds that no schedule can beat, with loads before work and with loads hidden behind it."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.batching.devices import EQUAL, Device

_HALVINGS = 40
_ROUNDING = 1e-12


class Family(NamedTuple):
    """An engine's work on the bounds' terms: seconds to load (0 where resident), seconds to serve, and the
    memory without which a device cannot hold it. Seconds are those of `batching.devices.EQUAL`."""

    load_s: float
    work_s: float
    memory_gib: float = 0.0
    engine_id: str = ""


def lower_bound_s(
    families: Sequence[Family], *, n_devices: int = 1, devices: Sequence[Device] | None = None
) -> float:
    """Seconds that no schedule can beat in which a device loads or works. Families may be split.

    Equal devices: the largest of LB1 = Σ(L+T)/G, LB2 = max(L + T/G), and LB6: the least C with
    Σ(T + L·⌈T/(C−L)⌉) <= G·C (a device gives a family at most C−L seconds and pays L for it).

    Different devices: see `_fits_alternating`.

    Args:
        n_devices: equal ones, >= 1; or `devices`: each of them.
    """
    if not families:
        return 0.0
    if devices is None or all(device == EQUAL for device in devices):
        n = n_devices if devices is None else len(devices)
        longest = max(f.load_s + f.work_s / n for f in families)
        spread = sum(f.load_s + f.work_s for f in families) / n
        return bound_by_area_s(families, area_s=lambda c: n * c, at_least=max(spread, longest))
    return max(_least(families, devices, _fits_alternating), overlapped_bound_s(families, devices=devices))


def overlapped_bound_s(
    families: Sequence[Family], *, n_devices: int = 1, devices: Sequence[Device] | None = None
) -> float:
    """Seconds that no schedule can beat in which a device loads one engine while it works for another.

    One device: loads come one after the other, and so does work; a family's work comes after its load.
    That is the flow shop of two machines, whose shortest makespan is that of Johnson's order (1954): families
    with L <= T first, shortest load first, then the others, longest work first. In any order the makespan
    is max over j of (L of the first to the j-th + T of the j-th to the last), whether work is interrupted
    or not: when the j-th load ends, all work from the j-th on is still to do. For j = 1 that is the
    first load + ΣT, for the last ΣL + its work, so the bound is at least

        max(ΣT + the cheapest load, ΣL + the shortest work).

    (ΣL + the cheapest load is none: a single family of 10 s + 1 s takes 11 s.) A resident engine has no load:
    it comes first, and the cheapest load is 0. Too little memory for two engines, and loads that slow work
    down, make a schedule longer, never shorter.

    Several devices: see `_fits_overlapped`, which one device passes, too.
    """
    if not families:
        return 0.0
    places = [EQUAL] * n_devices if devices is None else list(devices)
    bound = _least(families, places, _fits_overlapped)
    return max(bound, johnson_s(families, places[0])) if len(places) == 1 else bound


def johnson_s(families: Sequence[Family], device: Device = EQUAL) -> float:
    """The shortest makespan on one device that loads the next engine while it works for another."""
    loaded_s = done_s = 0.0
    for family in johnson_order(families):
        loaded_s += device.load_s(family.engine_id, family.load_s)
        done_s = max(done_s, loaded_s) + device.work_s(family.engine_id, family.work_s)
    return done_s


def johnson_order(families: Sequence[Family]) -> list[Family]:
    """Families in the order that hides most of their loads: `overlapped_bound_s` says which."""
    first = sorted((f for f in families if f.load_s <= f.work_s), key=lambda f: f.load_s)
    last = sorted((f for f in families if f.load_s > f.work_s), key=lambda f: -f.work_s)
    return [*first, *last]


def bound_by_area_s(
    families: Sequence[Family], *, area_s: Callable[[float], float], at_least: float
) -> float:
    """LB6 by bisection, approached from below, for any supply of equal devices.

    Args:
        area_s: device-seconds that the devices have until a time; never shrinks with it.
        at_least: a bound already known.
    """

    def fits(seconds: float) -> bool:
        used = 0.0
        for family in families:
            load_s, work_s = family.load_s, family.work_s
            if seconds <= load_s:
                return False
            used += work_s + load_s * max(1, math.ceil(work_s / (seconds - load_s)))
        return used <= area_s(seconds)

    return _least_that(fits, at_least)


# ── devices of different speed and memory ─────────────────────────────────────────────────────────


class _Cost(NamedTuple):
    """A family on one device: seconds to load it, to do all its work, and what one of its seconds weighs."""

    load_s: float
    work_s: float
    weight: float


_Fits = Callable[[Sequence[Sequence[_Cost]], Sequence[Device], float], bool]
"""Whether a time may suffice for families, each with its cost on every device."""


def _least(families: Sequence[Family], devices: Sequence[Device], fits: _Fits) -> float:
    """The least time that suffices for every group of families, on the devices that hold them.

    Families that need more than some memory run on larger devices only: each such group must find room
    there. One that fits no device may still be tried where there is most memory.
    """
    most = max(device.memory_gib for device in devices)
    needed = [min(family.memory_gib, most) for family in families]
    groups = []
    for least_gib in sorted(set(needed)):
        holders = [device for device in devices if device.memory_gib >= least_gib]
        members = [f for f, gib in zip(families, needed, strict=True) if gib >= least_gib]
        costs = [
            [
                _Cost(d.load_s(f.engine_id, f.load_s), d.work_s(f.engine_id, f.work_s), d.speed)
                if d.memory_gib >= min(f.memory_gib, most)
                else _Cost(math.inf, math.inf, d.speed)
                for d in holders
            ]
            for f in members
        ]
        groups.append((costs, holders))
    return _least_that(lambda seconds: all(fits(costs, held, seconds) for costs, held in groups), 0.0)


def _fits_alternating(costs: Sequence[Sequence[_Cost]], devices: Sequence[Device], seconds: float) -> bool:
    """Whether all loads and work find room in the devices' seconds, each weighed by the device's speed.

    A device does at most the part (C − L)/T of a family. So many devices as are needed for the whole, the
    quickest first, have to load it, each once: the cheapest loads of so many are paid. Its work weighs at
    least what it does where that is least.
    """
    used = 0.0
    for of_devices in costs:
        n_loads = _n_loads(of_devices, seconds)
        if n_loads is None:
            return False
        loads = sorted(cost.weight * cost.load_s for cost in of_devices)
        used += min(cost.weight * cost.work_s for cost in of_devices) + sum(loads[:n_loads])
    return used <= seconds * sum(device.speed for device in devices)


def _fits_overlapped(costs: Sequence[Sequence[_Cost]], devices: Sequence[Device], seconds: float) -> bool:
    """Whether work and loads find room, each by itself.

    Loads: of each family as many as its work needs (see `_fits_alternating`), in the seconds of all devices.
    Work: a device begins when its first load has ended, the cheapest there is. That holds for the work of
    any families, so also without those of the shortest loads.
    """
    room = seconds * sum(device.speed for device in devices)
    loads = work = 0.0
    first = [math.inf] * len(devices)
    for of_devices in sorted(costs, key=lambda c: -min(cost.load_s for cost in c)):
        n_loads = _n_loads(of_devices, seconds)
        if n_loads is None:
            return False
        loads += sum(sorted(cost.weight * cost.load_s for cost in of_devices)[:n_loads])
        work += min(cost.weight * cost.work_s for cost in of_devices)
        first = [min(since, cost.load_s) for since, cost in zip(first, of_devices, strict=True)]
        served = sum(d.speed * max(0.0, seconds - s) for d, s in zip(devices, first, strict=True))
        if work > served + _ROUNDING * room:
            return False
    return loads <= room


def _n_loads(of_devices: Sequence[_Cost], seconds: float) -> int | None:
    """Devices that a family's work needs at least within a time; None = all of them do not suffice."""
    parts = sorted((_part(cost, seconds) for cost in of_devices), reverse=True)
    done = 0.0
    for n, part in enumerate(parts, 1):
        done += part
        if done >= 1 - _ROUNDING:
            return n
    return None


def _part(cost: _Cost, seconds: float) -> float:
    """Of a family's work, what one device can do within a time."""
    left_s = seconds - cost.load_s
    if left_s < 0:
        return 0.0
    return 1.0 if left_s >= cost.work_s else left_s / cost.work_s


def _least_that(fits: Callable[[float], bool], at_least: float) -> float:
    """The least time that fits, by bisection, approached from below."""
    if fits(at_least):
        return at_least
    low, high = at_least, 2 * at_least + 1e-9
    while not fits(high):
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return low
