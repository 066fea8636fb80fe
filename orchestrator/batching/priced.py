"""Seconds that no schedule can beat, from what one device can do at most: tighter than `bounds`, and slower.

Proof. Let every engine's work have a price >= 0, and let V(k) be the most that the work of one device of
kind k can be worth by a time C. In a schedule that ends by C each device does work worth V(k) at most, and
all devices do all of it. So where Σ over devices of V(k) < the worth of all work, no schedule ends by C.
That holds for any prices. The best are those of a linear program, a relaxation of scheduling: how many
devices follow which plan, so that most of all work is done. Plans are added to it as prices find them
(Gilmore and Gomory 1961).

What a device can do. With hidden loads, engines loaded in the order 1, 2, ...: when the j-th load has ended,
all work from the j-th on is still to do, in whatever order, so

    work of j, j+1, ... <= C − (load of 1 + ... + load of j)    for every j,

and work of an engine is no more than there is. The sets are nested, so the dearest engine first, as much
as all its sets leave, is worth most. An engine that is loaded twice does as well with all its work after
the first load. With loads before work it is one set: all work <= C − all loads. Plans are searched by
branch and bound: what is not loaded yet counts as loaded at once, after the cheapest of those loads.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestrator.batching.bounds import Family, by_kind, lower_bound_s, overlapped_bound_s
from orchestrator.batching.devices import Device

PRECISION = 0.001
"""The bound is raised by steps of no less than this part of it."""
_MOST_ROUNDS, _MOST_ROWS, _MOST_CUT = 60, 3_000, 2
"""Prices that are tried for a time, begun plans that are followed at once, and searches that may have more
of them: where plans are long, they have no end."""
_KEPT = 12
"""Plans that a search adds for each number of engines in them."""
_NEAR = 1e-4
"""A begun plan that may be worth no more than this over the best is not followed, and counted with it."""
_ROUNDING = 1e-9

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


def priced_bound_s(families: Sequence[Family], *, devices: Sequence[Device], hides: bool) -> float:
    """Seconds that no schedule can beat, no less than `lower_bound_s` or `overlapped_bound_s`.

    Takes some tenths of a second to some seconds of CPU for 16 families. Where a search has more begun plans
    than are followed, the bound is less tight, and holds.

    Args:
        devices: each of them, at least one.
        hides: they load one engine while they work for another, in any number.
    """
    known = overlapped_bound_s if hides else lower_bound_s
    low = known(families, devices=devices)
    worked = [family for family in families if family.work_s > 0]
    if low <= 0 or not worked or len(devices) == 1:
        return low
    kinds = _kinds(worked, devices)
    prices = np.array([family.work_s for family in worked])
    found = _beaten(kinds, prices, low * (1 + PRECISION), hides=hides)
    step, high = PRECISION, math.inf
    while found is not None:  # by steps that double, then by halves
        low, prices, step = low * (1 + step), found, 2 * step
        found = _beaten(kinds, prices, low * (1 + step), hides=hides)
        high = low * (1 + step)
    while high - low > PRECISION * low and high < math.inf:
        middle = (low + high) / 2
        found = _beaten(kinds, prices, middle, hides=hides)
        if found is None:
            high = middle
        else:
            low, prices = middle, found
    return low


class _Kind(NamedTuple):
    """`n` devices of one kind. `load_s`, `work_s`: floats, [E] families, seconds there of a load (inf = not
    held there) and of all work."""

    n: int
    load_s: Floats
    work_s: Floats


def _kinds(families: Sequence[Family], devices: Sequence[Device]) -> list[_Kind]:
    most_gib = max(device.memory_gib for device in devices)
    held = [family._replace(memory_gib=min(family.memory_gib, most_gib)) for family in families]
    kinds, n, costs = by_kind(held, devices)
    return [
        _Kind(n[k], np.array([c[k].load_s for c in costs]), np.array([c[k].work_s for c in costs]))
        for k in range(len(kinds))
    ]


def _beaten(kinds: Sequence[_Kind], prices: Floats, seconds: float, *, hides: bool) -> Floats | None:
    """Prices of whole families that prove that no schedule ends by then; None = none were found.

    Args:
        prices: to begin with.
    """
    plans: list[list[Floats]] = [[] for _ in kinds]
    n_cut = 0
    for _ in range(_MOST_ROUNDS):
        worth, is_new = 0.0, False
        for kind, known in zip(kinds, plans, strict=True):
            best = max((float(prices @ plan) for plan in known), default=0.0)
            most, found = _most(kind, prices, seconds, hides=hides, known=best)
            worth += kind.n * most
            is_new |= most > best * (1 + _NEAR)
            known += found
            reached = max((float(prices @ plan) for plan in known), default=0.0)
            n_cut += most > reached * (1 + 2 * _NEAR)
        if worth < prices.sum() * (1 - _ROUNDING):
            return prices
        if not is_new or n_cut > _MOST_CUT:
            return None
        share, prices = _prices(kinds, plans)
        if share >= 1 - _ROUNDING:
            return None
    return None


def _prices(kinds: Sequence[_Kind], plans: Sequence[Sequence[Floats]]) -> tuple[float, Floats]:
    """The largest share of every family's work that devices do by these plans, and the worth of doing more of
    each."""
    from scipy.optimize import linprog  # half a second of import, for those who ask for this bound

    columns = np.array([plan for known in plans for plan in known]).T
    n_families, n_plans = columns.shape
    of_kind = np.repeat(np.arange(len(kinds)), [len(known) for known in plans])
    rows = np.zeros((n_families + len(kinds), n_plans + 1))
    rows[:n_families, :n_plans], rows[:n_families, n_plans] = -columns, 1.0
    rows[n_families + of_kind, np.arange(n_plans)] = 1.0
    there = np.concatenate([np.zeros(n_families), [kind.n for kind in kinds]])
    solved = linprog(np.append(np.zeros(n_plans), -1.0), A_ub=rows, b_ub=there, method="highs")
    return float(-solved.fun), np.maximum(0.0, -solved.ineqlin.marginals[:n_families])


# ── the most that one device can do ───────────────────────────────────────────────────────────────


class _Begun(NamedTuple):
    """Begun plans of R devices with E families: what is loaded, in C nested sets.

    `place`: [R, E], the last set that a family's work counts in, -1 = not loaded; `may`: [R, E], may be
    loaded next; `room_s`: [R, C], seconds of work that each set has; `loaded_s`: [R], all loads.
    """

    place: Places
    may: Bools
    room_s: Floats
    loaded_s: Floats


def _most(
    kind: _Kind, prices: Floats, seconds: float, *, hides: bool, known: float
) -> tuple[float, list[Floats]]:
    """The most that one device's work can be worth, or a little more, and good plans: shares of families.

    Args:
        known: the worth of a plan that is known.
    """
    works = (kind.load_s < seconds) & (prices > 0)
    rates = np.where(works, prices / kind.work_s, 0.0)
    plans: list[Floats] = []
    best, cut = known, 0.0
    begun = _Begun(
        np.full((1, len(rates)), -1), works[None, :], np.full((1, int(not hides)), seconds), np.zeros(1)
    )
    while len((begun := _further(begun, kind, seconds, hides=hides)).loaded_s):
        worth, work_s = _filled(begun, kind, rates, seconds, has_more=False)
        ahead = np.argsort(-worth)[:_KEPT]
        plans += list(work_s[ahead] / kind.work_s)
        best = max(best, float(worth.max()))
        most, _ = _filled(begun, kind, rates, seconds, has_more=True)
        follows = most > best * (1 + _NEAR)
        if follows.sum() > _MOST_ROWS:
            follows &= most > np.partition(most, -_MOST_ROWS)[-_MOST_ROWS]
        cut = max(cut, float(most[~follows].max(initial=0.0)))
        begun = _Begun(
            begun.place[follows], begun.may[follows], begun.room_s[follows], begun.loaded_s[follows]
        )
    return max(best, cut), plans


def _further(begun: _Begun, kind: _Kind, seconds: float, *, hides: bool) -> _Begun:
    """Every begun plan with every further load that ends in time."""
    loaded_s = begun.loaded_s[:, None] + kind.load_s
    rows, engines = np.nonzero(begun.may & (loaded_s < seconds))
    loaded, each = loaded_s[rows, engines], np.arange(len(rows))
    place, may, left_s = begun.place[rows], begun.may[rows], (seconds - loaded)[:, None]
    if hides:
        place[each, engines] = begun.room_s.shape[1]
        may[each, engines] = False
        return _Begun(place, may, np.concatenate([begun.room_s[rows], left_s], axis=1), loaded)
    place[each, engines] = 0
    may &= np.arange(len(kind.load_s)) > engines[:, None]  # in any order it is the same plan
    return _Begun(place, may, left_s, loaded)


def _filled(
    begun: _Begun, kind: _Kind, rates: Floats, seconds: float, *, has_more: bool
) -> tuple[Floats, Floats]:
    """What each plan's work is worth, [R], and the seconds of each family, [R, E]; the dearest first.

    Args:
        rates: worth of a second of each family.
        has_more: with everything that may still be loaded, as if all of it were after the cheapest load.
    """
    room_s, n_sets = begun.room_s.copy(), begun.room_s.shape[1]
    left_s = (seconds - begun.loaded_s)[:, None] - kind.load_s
    most_s = np.where(begun.place >= 0, kind.work_s, 0.0)
    place = begun.place
    if has_more:
        after_s = np.where(begun.may, left_s, 0.0)
        most_s = np.where(begun.may, np.minimum(kind.work_s, np.maximum(after_s, 0.0)), most_s)
        place = np.where(begun.may, n_sets, place)
        room_s = np.concatenate([room_s, after_s.max(axis=1, keepdims=True, initial=0.0)], axis=1)
    work_s = np.zeros_like(most_s)
    sets = np.arange(room_s.shape[1])
    for engine in np.argsort(-rates, kind="stable"):
        counts = sets <= place[:, engine, None]
        free_s = np.where(counts, room_s, math.inf).min(axis=1)
        taken = np.where(place[:, engine] >= 0, np.minimum(free_s, most_s[:, engine]), 0.0)
        room_s -= np.where(counts, taken[:, None], 0.0)
        work_s[:, engine] = taken
    return work_s @ rates, work_s
