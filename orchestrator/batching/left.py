"""The rest of a run, by the schedule that `choose_engine` follows."""

from collections.abc import Sequence

from orchestrator.batching.bounds import Family, lower_bound_s, overlapped_bound_s
from orchestrator.batching.neighbours import ALONE, Neighbours
from orchestrator.batching.packing import Need, Packing, Slot, Stint, pack
from orchestrator.batching.rates import NO_RATES, Rates
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
    slots = [Slot(resident), *[Slot()] * (n_devices - 1)]
    needs = all_needs(backlog, later=later, rates=rates)
    return load_plan(pack(needs, slots), needs, slots, later=later)


def load_plan(
    packing: Packing, needs: Sequence[Need], slots: Sequence[Slot], *, later: frozenset[str]
) -> LoadPlan:
    """A packing as counts and seconds, with the bounds that it stands against.

    Args:
        needs: what was packed.
        slots: devices as they were before.
        later: engines of a last stage: each device serves them last.
    """
    stints = [stint for slot in packing.stints for stint in in_order(slot, later)]
    families, devices = families_of(needs, slots), [slot.device for slot in slots]
    return LoadPlan(
        order=tuple(dict.fromkeys(stint.engine_id for stint in stints)),
        loads_left=sum(stint.load_s > 0 for stint in stints),
        seconds_left=finish_s(packing, slots),
        lower_bound_s=lower_bound_s(families, devices=devices),
        overlapped_bound_s=overlapped_bound_s(families, devices=devices),
    )


def all_needs(
    backlog: Sequence[EngineBacklog], *, later: frozenset[str], rates: Rates, neighbours: Neighbours = ALONE
) -> list[Need]:
    """Needs of the waiting work, and one more load for each engine in `later` that has none yet."""
    waiting = [item for item in backlog if item.n_waiting]
    if not waiting:
        return []
    pending = sorted(later - {item.engine_id for item in waiting})
    ahead = [Need(e, rates.load(e), LEAST_WORK_S, neighbours.memory_gib.get(e, 0.0)) for e in pending]
    return neighbours.needs(waiting, rates) + ahead


def families_of(needs: Sequence[Need], slots: Sequence[Slot]) -> list[Family]:
    """The needs on the bounds' terms: no load where some device has the engine."""
    there = {engine_id for slot in slots for engine_id in slot.here}
    return [
        Family(0.0 if n.engine_id in there else n.load_s, _on_the_books(n.work_s), n.memory_gib, n.engine_id)
        for n in needs
    ]


def in_order(stints: Sequence[Stint], later: frozenset[str]) -> list[Stint]:
    """A device's stints as it serves them: what it has loaded first, the last stage last."""
    return sorted(stints, key=lambda stint: (stint.load_s > 0, stint.engine_id in later))


def finish_s(packing: Packing, slots: Sequence[Slot]) -> float:
    """Time at which the last stint is done."""
    ends = [
        slot.ready_s + sum(p.load_s + _on_the_books(p.work_s) for p in stints)
        for slot, stints in zip(slots, packing.stints, strict=True)
        if stints
    ]
    return max(ends, default=0.0)


def _on_the_books(work_s: float) -> float:
    return 0.0 if work_s <= LEAST_WORK_S else work_s
