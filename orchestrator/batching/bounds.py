"""Seconds that no schedule can beat."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

_HALVINGS = 40


class Family(NamedTuple):
    """An engine's work on the bounds' terms: seconds to load (0 where resident), seconds to serve."""

    load_s: float
    work_s: float


def lower_bound_s(families: Sequence[Family], *, n_devices: int) -> float:
    """Seconds that no schedule on `n_devices` >= 1 can beat when families may be split.

    The largest of LB1 = Σ(L+T)/G, LB2 = max(L + T/G), and LB6: the least C with
    Σ(T + L·⌈T/(C−L)⌉) <= G·C (a device gives a family at most C−L seconds and pays L for it).
    """
    if not families:
        return 0.0
    longest = max(f.load_s + f.work_s / n_devices for f in families)
    spread = sum(f.load_s + f.work_s for f in families) / n_devices
    return bound_by_area_s(families, area_s=lambda c: n_devices * c, at_least=max(spread, longest))


def bound_by_area_s(
    families: Sequence[Family], *, area_s: Callable[[float], float], at_least: float
) -> float:
    """LB6 by bisection, approached from below, for any supply of devices.

    Args:
        area_s: device-seconds that the devices have until a time; never shrinks with it.
        at_least: a bound already known.
    """

    def fits(seconds: float) -> bool:
        used = 0.0
        for load_s, work_s in families:
            if seconds <= load_s:
                return False
            used += work_s + load_s * max(1, math.ceil(work_s / (seconds - load_s)))
        return used <= area_s(seconds)

    if fits(at_least):
        return at_least
    low, high = at_least, 2 * at_least + 1e-9
    while not fits(high):
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return low
