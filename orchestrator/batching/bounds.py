"""Seconds that no schedule can beat, with loads before work and with loads hidden behind it."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.batching.devices import EQUAL, Device
from orchestrator.batching.prices import ROUNDS, Cost, filled, most_of, repriced

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
    for family in johnson_order([_in_seconds_of(device, family) for family in families]):
        loaded_s += family.load_s
        done_s = max(done_s, loaded_s) + family.work_s
    return done_s


def _in_seconds_of(device: Device, family: Family) -> Family:
    load_s = device.load_s(family.engine_id, family.load_s)
    return family._replace(load_s=load_s, work_s=device.work_s(family.engine_id, family.work_s))


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


class _Group(NamedTuple):
    """Families that only some devices hold: `costs[i][k]` of the i-th family on devices of the k-th kind, of
    which there are `n[k]`, and the first weights to try for one second of each kind."""

    costs: Sequence[Sequence[Cost]]
    n: Sequence[int]
    weights: Sequence[float]


_MIXTURES = (0.0, 0.3, 0.6, 0.8)


def _least(
    families: Sequence[Family], devices: Sequence[Device], fits: Callable[[_Group, float], bool]
) -> float:
    """The least time that may suffice for every group of families, on the devices that hold them.

    Families that need more than some memory run on larger devices only: each such group must find room there.
    One that fits no device may still be tried where there is most memory.
    """
    most = max(device.memory_gib for device in devices)
    needed = [min(family.memory_gib, most) for family in families]
    groups: dict[int, list[_Group]] = {}
    for least_gib in sorted(set(needed)):
        holders = [device for device in devices if device.memory_gib >= least_gib]
        if len(holders) not in groups:  # else the same devices hold a larger group of families
            members = [
                family._replace(memory_gib=gib)
                for family, gib in zip(families, needed, strict=True)
                if gib >= least_gib
            ]
            groups[len(holders)] = _weighed(members, holders)
    every = [group for weighed in groups.values() for group in weighed]
    return _least_that(lambda seconds: all(fits(group, seconds) for group in every), 0.0)


def by_kind(
    families: Sequence[Family], devices: Sequence[Device]
) -> tuple[list[Device], list[int], list[list[Cost]]]:
    """Kinds of devices, how many of each there are, and what every family costs on each kind."""
    kinds: list[Device] = []
    n: list[int] = []
    for device in devices:
        if device in kinds:
            n[kinds.index(device)] += 1
        else:
            kinds.append(device)
            n.append(1)
    costs = [
        [
            Cost(d.load_s(f.engine_id, f.load_s), d.work_s(f.engine_id, f.work_s), k)
            if d.memory_gib >= f.memory_gib
            else Cost(math.inf, math.inf, k)
            for d, k in zip(kinds, n, strict=True)
        ]
        for f in families
    ]
    return kinds, n, costs


def _weighed(families: Sequence[Family], devices: Sequence[Device]) -> list[_Group]:
    """One group with several weights, between the speeds of work and those of loads."""
    kinds, n, costs = by_kind(families, devices)
    mixtures = _MIXTURES if len(kinds) > 1 else _MIXTURES[:1]
    return [_Group(costs, n, [1 / ((1 - x) / d.speed + x / d.load_speed) for d in kinds]) for x in mixtures]


def _fits_alternating(group: _Group, seconds: float) -> bool:
    """Whether all loads and work may find room in the devices' seconds, added up by weight.

    Whatever the weights, what finds no room by them finds none at all. A device does at most the part
    p = (C − L)/T of a family, <= 1, and pays L for it: at least L/p of each part. So a family takes at least
    what it takes where W·(T + L/p) is least, each device filled up to p. It also takes at least the work
    where that weighs least, and the cheapest loads of as many devices as are needed for the whole. Weights
    go up where more is wanted than there is (`prices.repriced`).
    """
    weights = list(group.weights)
    for _ in range(ROUNDS if len(group.n) > 1 else 1):
        used, wanted = 0.0, [0.0] * len(group.n)
        for costs in group.costs:
            n_loads = _n_loads(costs, seconds)
            if n_loads is None:
                return False
            parts = filled(costs, weights, seconds, has_loads=True)
            taken = [part.seconds for part in parts]
            work = min(w * cost.work_s for w, cost in zip(weights, costs, strict=True))
            used += max(_sum(weights, taken), work + _cheapest_loads(costs, weights, n_loads))
            wanted = [a + b for a, b in zip(wanted, taken, strict=True)]
        room = [n * seconds for n in group.n]
        if used > _sum(weights, room) * (1 + _ROUNDING):
            return False
        weights = repriced(weights, wanted, room)
    return True


def _fits_overlapped(group: _Group, seconds: float) -> bool:
    """Whether work and loads may find room, each by itself, weighed as in `_fits_alternating`.

    Loads: of each family as many as its work needs, in the seconds of all devices. Work: a device begins
    when its first load has ended, the cheapest there is. That holds for the work of any families, so
    also without those of the shortest loads.
    """
    weights = list(group.weights)
    room = [n * seconds for n in group.n]
    ordered = sorted(group.costs, key=lambda of_kinds: -min(cost.load_s for cost in of_kinds))
    for _ in range(ROUNDS if len(group.n) > 1 else 1):
        loads, taken = 0.0, [0.0] * len(group.n)
        first, served = [math.inf] * len(group.n), room
        for costs in ordered:
            n_loads = _n_loads(costs, seconds)
            if n_loads is None:
                return False
            loads += _cheapest_loads(costs, weights, n_loads)
            parts = filled(costs, weights, seconds, has_loads=False)
            taken = [a + part.seconds for a, part in zip(taken, parts, strict=True)]
            first = [min(since, cost.load_s) for since, cost in zip(first, costs, strict=True)]
            served = [n * max(0.0, seconds - since) for n, since in zip(group.n, first, strict=True)]
            if _sum(weights, taken) > _sum(weights, served) + _ROUNDING * _sum(weights, room):
                return False
        if loads > _sum(weights, room) * (1 + _ROUNDING):
            return False
        weights = repriced(weights, taken, served)
    return True


def _sum(weights: Sequence[float], seconds: Sequence[float]) -> float:
    return sum(w * s for w, s in zip(weights, seconds, strict=True))


def _n_loads(costs: Sequence[Cost], seconds: float) -> int | None:
    """Devices that a family's work needs at least within a time; None = all of them do not suffice."""
    left, n_loads = 1.0, 0
    for part, n in sorted(((most_of(cost, seconds), cost.n) for cost in costs), reverse=True):
        if part <= 0:
            break
        needed = math.ceil(left / part * (1 - _ROUNDING))
        if needed <= n:
            return n_loads + max(1, needed)
        left, n_loads = left - n * part, n_loads + n
    return None


def _cheapest_loads(costs: Sequence[Cost], weights: Sequence[float], n_loads: int) -> float:
    """Weight of the `n_loads` cheapest loads of a family, each on a device of its own."""
    loads = sorted((w * cost.load_s, cost.n) for w, cost in zip(weights, costs, strict=True))
    total = 0.0
    for load, n in loads:
        total += load * min(n, n_loads) if n_loads > 0 else 0.0
        n_loads -= n
    return total


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
