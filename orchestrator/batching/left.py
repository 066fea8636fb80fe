"""What is left of a run, by the schedule that `choose_engine` follows."""

from collections.abc import Sequence

from orchestrator.batching.bounds import Family, lower_bound_s
from orchestrator.batching.choosing import NO_RATES, Rates, needs_of
from orchestrator.batching.packing import Need, Packing, Piece, Seat, pack
from orchestrator.domain.assignments import EngineBacklog, LoadPlan

LEAST_WORK_S = 1e-6
"""Stands for work of a later stage that is not on the books yet: it needs its load."""


def plan(
    backlog: Sequence[EngineBacklog],
    *,
    resident: str | None,
    later: frozenset[str] = frozenset(),
    rates: Rates = NO_RATES,
    n_devices: int = 1,
) -> LoadPlan:
    """Loads and seconds left. Engines in `later` without waiting work yet count as one load each.

    Args:
        resident: what the device of this process has loaded; nothing is known of other devices.
    """
    seats = [Seat(resident), *[Seat()] * (n_devices - 1)]
    needs = all_needs(backlog, later=later, rates=rates)
    return load_plan(pack(needs, seats), needs, seats, later=later)


def load_plan(
    packing: Packing, needs: Sequence[Need], seats: Sequence[Seat], *, later: frozenset[str]
) -> LoadPlan:
    pieces = [piece for seat in packing.pieces for piece in in_order(seat, later)]
    return LoadPlan(
        order=tuple(dict.fromkeys(piece.engine_id for piece in pieces)),
        loads_left=sum(piece.load_s > 0 for piece in pieces),
        seconds_left=finish_s(packing, seats),
        lower_bound_s=lower_bound_s(families_of(needs, seats), n_devices=len(seats)),
    )


def all_needs(backlog: Sequence[EngineBacklog], *, later: frozenset[str], rates: Rates) -> list[Need]:
    """Needs of the waiting work, and one more load for each engine in `later` that has none yet."""
    waiting = [item for item in backlog if item.n_waiting]
    if not waiting:
        return []
    pending = sorted(later - {item.engine_id for item in waiting})
    return needs_of(waiting, rates) + [Need(e, rates.load(e), LEAST_WORK_S) for e in pending]


def families_of(needs: Sequence[Need], seats: Sequence[Seat]) -> list[Family]:
    """The needs on the bounds' terms: no load where some device has the engine."""
    there = {seat.engine_id for seat in seats}
    return [Family(0.0 if n.engine_id in there else n.load_s, _on_the_books(n.work_s)) for n in needs]


def in_order(pieces: Sequence[Piece], later: frozenset[str]) -> list[Piece]:
    """A device's pieces as it serves them: what it has loaded first, the last stage last."""
    return sorted(pieces, key=lambda piece: (piece.load_s > 0, piece.engine_id in later))


def finish_s(packing: Packing, seats: Sequence[Seat]) -> float:
    """When the last piece is done."""
    ends = [
        seat.ready_s + sum(p.load_s + _on_the_books(p.work_s) for p in pieces)
        for seat, pieces in zip(seats, packing.pieces, strict=True)
        if pieces
    ]
    return max(ends, default=0.0)


def _on_the_books(work_s: float) -> float:
    return 0.0 if work_s <= LEAST_WORK_S else work_s
