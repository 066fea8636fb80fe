"""Prices of seconds of different devices: what is scarce weighs more.

The prices of a linear program, found by turns: every family takes the devices that cost it least, and what is
wanted more than there is becomes dearer.
"""

from collections.abc import Sequence
from typing import NamedTuple

ROUNDS = 12
_STEP, _MOST = 0.5, 2.0


class Cost(NamedTuple):
    """A family on `n` equal devices: seconds of each to load it, and to do all its work; inf = not there."""

    load_s: float
    work_s: float
    n: int


class Part(NamedTuple):
    """Share of a family's work that devices of one kind do, and the seconds that they need for it."""

    share: float
    seconds: float


def most_of(cost: Cost, seconds: float) -> float:
    """Share in [0, 1] of a family's work that one device can do in so many `seconds`, its load included."""
    left_s = seconds - cost.load_s
    if left_s < 0:
        return 0.0
    return 1.0 if left_s >= cost.work_s else left_s / cost.work_s


def filled(costs: Sequence[Cost], prices: Sequence[float], seconds: float, *, has_loads: bool) -> list[Part]:
    """The cheapest way to do a family's work where devices do no more than they can, by kind of device.

    Args:
        has_loads: loads take a device's seconds, too, in proportion to what it does of the most it can.
    """
    rates = []
    for ix, cost in enumerate(costs):
        most = most_of(cost, seconds)
        if most > 0:
            rate_s = cost.work_s + (cost.load_s / most if has_loads else 0.0)
            rates.append((prices[ix] * rate_s, rate_s, most * cost.n, ix))
    parts, left = [Part(0.0, 0.0)] * len(costs), 1.0
    for _, rate_s, most, ix in sorted(rates):
        share = min(left, most)
        parts[ix] = Part(share, share * rate_s)
        left -= share
    return parts


def repriced(prices: Sequence[float], wanted: Sequence[float], there: Sequence[float]) -> list[float]:
    """Prices after one turn: seconds wanted of each kind, and those that there are."""
    changed = []
    for price, want, have in zip(prices, wanted, there, strict=True):
        ratio = _MOST if have <= 0 else min(_MOST, max(1 / _MOST, want / have))
        changed.append(price * ratio**_STEP)
    return changed
