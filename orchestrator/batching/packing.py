"""Loads and work on devices so that the last one is done early: LPT with planned splitting.

For a given finish time C, families go largest first, whole where they fit, else in pieces of at most
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


class Seat(NamedTuple):
    """A device as a planner sees it: what it has (or is loading) and when that is free to serve."""

    engine_id: str | None = None
    ready_s: float = 0.0


class Piece(NamedTuple):
    """Part of an engine's work on one device; `load_s` is 0 where the engine is already there."""

    engine_id: str
    load_s: float
    work_s: float


class Packing(NamedTuple):
    """Pieces of each seat, in the order of the seats, and when the last one is done."""

    pieces: tuple[tuple[Piece, ...], ...]
    finish_s: float


def pack(needs: Sequence[Need], seats: Sequence[Seat]) -> Packing:
    """A short schedule for all needs on one or more seats.

    A seat's own engine comes first on it, and seats are filled from the left: of several with one
    engine, the last is the first to be left free for other engines.
    """
    work = [need for need in needs if need.work_s > 0]
    if not work:
        return Packing(tuple(() for _ in seats), max((seat.ready_s for seat in seats), default=0.0))
    there: dict[str, list[int]] = {}
    for ix, seat in enumerate(seats):
        if seat.engine_id is not None:
            there.setdefault(seat.engine_id, []).append(ix)
    ready = [seat.ready_s for seat in seats]
    low = high = _area_bound(work, seats)
    best = _packed(work, ready, there, high)
    while best is None:
        low, high = high, 1.5 * high
        best = _packed(work, ready, there, high)
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        tried = _packed(work, ready, there, middle)
        low, high, best = (middle, high, best) if tried is None else (low, middle, tried)
    return Packing(tuple(tuple(pieces) for pieces in best), high)


def _area_bound(needs: Sequence[Need], seats: Sequence[Seat]) -> float:
    here = {seat.engine_id for seat in seats}
    total = sum(need.work_s + (0.0 if need.engine_id in here else need.load_s) for need in needs)
    return (total + sum(seat.ready_s for seat in seats)) / len(seats)


def _packed(
    needs: Sequence[Need], ready: Sequence[float], there: Mapping[str, Sequence[int]], finish_s: float
) -> list[list[Piece]] | None:
    """Pieces by seat, all done by `finish_s`; None where that does not fit.

    Args:
        ready: seconds until each seat is free to serve.
        there: seats that have an engine, by engine.
    """
    room = [finish_s - ready_s for ready_s in ready]
    pieces: list[list[Piece]] = [[] for _ in ready]
    rest = []
    for need in needs:
        left = need.work_s
        for ix in there.get(need.engine_id, ()):
            share = min(left, room[ix])
            if share > 0:
                pieces[ix].append(Piece(need.engine_id, 0.0, share))
                room[ix] -= share
                left -= share
        if left > _ROUNDING_S:
            rest.append(need._replace(work_s=left))
    for need in sorted(rest, key=lambda n: (-(n.load_s + n.work_s), n.engine_id)):
        if not _placed(need, room, pieces):
            return None
    return pieces


def _placed(need: Need, room: list[float], pieces: list[list[Piece]]) -> bool:
    """Whether a family found room: whole where it fits best, else cut by the widest gaps."""
    left = need.work_s
    while left > 0:
        whole = [ix for ix, gap in enumerate(room) if gap >= need.load_s + left]
        ix = min(whole, key=room.__getitem__) if whole else max(range(len(room)), key=room.__getitem__)
        share = min(left, room[ix] - need.load_s)
        if share < min(left, LEAST_SHARE * need.load_s) or share <= 0:
            return False
        pieces[ix].append(Piece(need.engine_id, need.load_s, share))
        room[ix] -= need.load_s + share
        left -= share
    return True
