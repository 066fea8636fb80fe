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
        resident: what the device of this process has loaded; `backlog` tells of the others.
    """
    needs = all_needs(backlog, later=later, rates=rates)
    packing = pack(needs, [Seat(resident), *[Seat()] * (n_devices - 1)])
    pieces = [piece for seat in packing.pieces for piece in in_order(seat, later)]
    families = [
        Family(0.0 if need.engine_id == resident else need.load_s, _counted(need.work_s)) for need in needs
    ]
    return LoadPlan(
        order=tuple(dict.fromkeys(piece.engine_id for piece in pieces)),
        loads_left=sum(piece.load_s > 0 for piece in pieces),
        seconds_left=finish_s(packing),
        lower_bound_s=lower_bound_s(families, n_devices=n_devices),
    )


def all_needs(backlog: Sequence[EngineBacklog], *, later: frozenset[str], rates: Rates) -> list[Need]:
    """Needs of the waiting work, and one more load for each engine in `later` that has none yet."""
    waiting = [item for item in backlog if item.n_waiting]
    if not waiting:
        return []
    pending = sorted(later - {item.engine_id for item in waiting})
    return needs_of(waiting, rates) + [Need(e, rates.load(e), LEAST_WORK_S) for e in pending]


def in_order(pieces: Sequence[Piece], later: frozenset[str]) -> list[Piece]:
    """A device's pieces as it serves them: what it has loaded first, the last stage last."""
    return sorted(pieces, key=lambda piece: (piece.engine_id in later, piece.load_s > 0))


def finish_s(packing: Packing) -> float:
    """When the last piece is done, without the slack of the search."""
    return max((sum(p.load_s + _counted(p.work_s) for p in seat) for seat in packing.pieces), default=0.0)


def _counted(work_s: float) -> float:
    return 0.0 if work_s <= LEAST_WORK_S else work_s
