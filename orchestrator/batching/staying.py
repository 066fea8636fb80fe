"""Choice of the engines that make way for another one where a device cannot hold all of them.

What an engine is worth to its device are the seconds of its next load that staying saves, times how likely
that load is; per GiB, because memory is what it is paid with (the greedy rule for objects of different size
and cost: Cao and Irani 1997, Cost-Aware WWW Proxy Caching Algorithms). Why wanted engines come before it:
docs/decisions/0050.
"""

from collections.abc import Sequence
from typing import NamedTuple

FORGET_S = 600.0
"""Seconds without use after which an engine without work is half as likely to be asked again."""
LEAST_GIB = 1e-3
"""An engine counts as no smaller, so that worth per GiB stays finite."""


class Resident(NamedTuple):
    """An engine that a device holds.

    Attributes:
        gib: memory that it takes at most, >= 0; None = not known.
        load_s: seconds from its leaving to its serving again, >= 0.
        is_wanted: work waits for it or runs on it.
        is_busy: requests run on it; it cannot leave before they have ended.
        idle_s: seconds since it was used, >= 0.
    """

    engine_id: str
    gib: float | None
    load_s: float
    is_wanted: bool = False
    is_busy: bool = False
    idle_s: float = 0.0


def worth_per_gib(resident: Resident, *, total_gib: float) -> float:
    """Expected seconds of loading that an engine saves by staying, for each GiB that it takes.

    A wanted engine is surely loaded again; of another one it is as likely as not, and half as likely again
    after every `FORGET_S`. `total_gib` stands for a size that is not known.
    """
    chance = 1.0 if resident.is_wanted else 0.5 ** (1.0 + resident.idle_s / FORGET_S)
    gib = total_gib if resident.gib is None else resident.gib
    return chance * resident.load_s / max(gib, LEAST_GIB)


def leaving_order(residents: Sequence[Resident]) -> list[Resident]:
    """Residents as they leave: those without work before those with work, these before those that run
    something; the least worth per GiB first, ties by id."""
    total_gib = sum(resident.gib or 0.0 for resident in residents)
    return sorted(
        residents,
        key=lambda r: (r.is_busy, r.is_wanted, worth_per_gib(r, total_gib=total_gib), r.engine_id),
    )


def who_leaves(
    residents: Sequence[Resident],
    *,
    need_gib: float | None,
    free_gib: float | None,
    n_spared: int = 0,
    most: int | None = None,
) -> tuple[Resident, ...] | None:
    """Engines that leave so that one more fits, in `leaving_order` and no more than that takes.

    Args:
        residents: those that may leave.
        need_gib: what the one to come takes at most; None = not known: it is loaded alone.
        free_gib: what the device has left beside all that it holds, may be negative; None = not known.
        n_spared: further engines there, which may not leave.
        most: engines that may be there beside the one to come; None = any number.

    Returns:
        () where it fits beside all; None where it does not although all of these leave. Without spared ones,
        all leave then: what is alone has all the memory there is, and its size is an estimate.
    """
    ordered = leaving_order(residents)
    taken: list[Resident] = []
    for resident in ordered:
        if _fits(need_gib, free_gib, taken, n_left=n_spared + len(ordered) - len(taken), most=most):
            break
        taken.append(resident)
    if not _fits(need_gib, free_gib, taken, n_left=n_spared + len(ordered) - len(taken), most=most):
        return None if n_spared else tuple(ordered)
    for resident in reversed(tuple(taken)):  # of those before a large one, some need not leave any more
        rest = [other for other in taken if other is not resident]
        if _fits(need_gib, free_gib, rest, n_left=n_spared + len(ordered) - len(rest), most=most):
            taken = rest
    return tuple(taken)


def _fits(
    need_gib: float | None,
    free_gib: float | None,
    leaving: Sequence[Resident],
    *,
    n_left: int,
    most: int | None,
) -> bool:
    if n_left == 0:
        return True
    if need_gib is None or free_gib is None or (most is not None and n_left > most):
        return False
    return need_gib <= free_gib + sum(resident.gib or 0.0 for resident in leaving)


def sleep_level(
    levels: Sequence[int], *, gib: float, host_free_gib: float | None, reserve_gib: float = 1.0
) -> int | None:
    """The level at which an engine sleeps: 1 where the host's memory takes its weights, else 2; None = it is
    closed.

    Args:
        levels: those that it offers.
        gib: what it holds, and level 1 takes of the host's memory.
        host_free_gib: what the host can give; None = not known.
        reserve_gib: what must be left of that.
    """
    if 1 in levels and host_free_gib is not None and gib + reserve_gib <= host_free_gib:
        return 1
    return 2 if 2 in levels else None
