"""Loads and work on devices so that the last one is done early: LPT with planned splitting.

For a given finish time C, families go largest first, whole where they fit, else in stints of at most
C − L seconds, each of which pays the load again; the least C that fits is found by halving. This is
MULTIFIT (dual approximation) for splittable families with set-up times; the guarantees known for the
problem are in arXiv:1810.01223.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

TOLERANCE = 0.005
"""A plan this close to the shortest one found is as good."""

LEAST_SHARE = 0.1
"""A load is paid again only for at least this part of its own seconds of work."""


_ROUNDING_S = 1e-9


class Need(NamedTuple):
    """An engine's waiting work in seconds of one device, and what a load of it takes."""

    engine_id: str
    load_s: float
    work_s: float


class Slot(NamedTuple):
    """A device as a planner sees it: what it has (or is loading) and when that is free to serve."""

    engine_id: str | None = None
    ready_s: float = 0.0


class Stint(NamedTuple):
    """Part of an engine's work on one device; `load_s` is 0 where the engine is already there."""

    engine_id: str
    load_s: float
    work_s: float


class Packing(NamedTuple):
    """Stints of each slot, in the order of the slots, and when the last one is done."""

    stints: tuple[tuple[Stint, ...], ...]
    finish_s: float


def pack(needs: Sequence[Need], slots: Sequence[Slot]) -> Packing:
    """A short schedule for all needs on one or more slots.

    A slot's own engine comes first on it, and slots are filled from the left: of several with one
    engine, the last is the first to be left free for other engines.
    """
    work = [need for need in needs if need.work_s > 0]
    if not work:
        return Packing(tuple(() for _ in slots), max((slot.ready_s for slot in slots), default=0.0))
    there: dict[str, list[int]] = {}
    for ix, slot in enumerate(slots):
        if slot.engine_id is not None:
            there.setdefault(slot.engine_id, []).append(ix)
    ready = [slot.ready_s for slot in slots]
    low = high = _area_bound(work, slots)
    best = _packed(work, ready, there, high)
    while best is None:
        low, high = high, 1.5 * high
        best = _packed(work, ready, there, high)
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        tried = _packed(work, ready, there, middle)
        low, high, best = (middle, high, best) if tried is None else (low, middle, tried)
    return Packing(tuple(tuple(stints) for stints in best), high)


def _area_bound(needs: Sequence[Need], slots: Sequence[Slot]) -> float:
    here = {slot.engine_id for slot in slots}
    total = sum(need.work_s + (0.0 if need.engine_id in here else need.load_s) for need in needs)
    return (total + sum(slot.ready_s for slot in slots)) / len(slots)


def _packed(
    needs: Sequence[Need], ready: Sequence[float], there: Mapping[str, Sequence[int]], finish_s: float
) -> list[list[Stint]] | None:
    """Stints by slot, all done by `finish_s`; None where that does not fit.

    Args:
        ready: seconds until each slot is free to serve.
        there: slots that have an engine, by engine.
    """
    room = [finish_s - ready_s for ready_s in ready]
    stints: list[list[Stint]] = [[] for _ in ready]
    rest = []
    for need in needs:
        left = need.work_s
        for ix in there.get(need.engine_id, ()):
            share = min(left, room[ix])
            if share > 0:
                stints[ix].append(Stint(need.engine_id, 0.0, share))
                room[ix] -= share
                left -= share
        if left > _ROUNDING_S:
            rest.append(need._replace(work_s=left))
    for need in sorted(rest, key=lambda n: (-(n.load_s + n.work_s), n.engine_id)):
        if not _placed(need, room, stints):
            return None
    return stints


def _placed(need: Need, room: list[float], stints: list[list[Stint]]) -> bool:
    """Whether a family found room: whole where it fits best, else cut by the widest gaps."""
    left = need.work_s
    while left > 0:
        whole = [ix for ix, gap in enumerate(room) if gap >= need.load_s + left]
        ix = min(whole, key=room.__getitem__) if whole else max(range(len(room)), key=room.__getitem__)
        share = min(left, room[ix] - need.load_s)
        if share < min(left, LEAST_SHARE * need.load_s) or share <= 0:
            return False
        stints[ix].append(Stint(need.engine_id, need.load_s, share))
        room[ix] -= need.load_s + share
        left -= share
    return True
