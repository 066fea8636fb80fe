"""The shortest schedule of families on devices, by CP-SAT: for reports, not for decisions."""

import math
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.batching.bounds import lower_bound_s
from orchestrator.batching.devices import EQUAL
from orchestrator.batching.left import families_of, finish_s
from orchestrator.batching.packing import Need, Packing, Slot, Stint, pack
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

TIME_LIMIT_S = 5.0
TICKS = 5_000
"""Resolution: the span between no time at all and the schedule found by packing, in steps of integers."""


GAP = 0.01

_PACE = 64
"""Speeds are integers, too: so many steps of a device's time are a tick where seconds are counted."""

_ROUNDING = 1e-9


class ExactPlan(NamedTuple):
    """`bound_s`: no schedule is shorter, as far as was proven in the time; optimal where they meet."""

    packing: Packing
    finish_s: float
    bound_s: float

    @property
    def is_optimal(self) -> bool:
        """True if no schedule is shorter, up to the resolution of the search."""
        return self.finish_s <= self.bound_s * (1 + GAP)


def exact_plan(
    needs: Sequence[Need], slots: Sequence[Slot], *, time_limit_s: float = TIME_LIMIT_S
) -> ExactPlan:
    """Splitting is allowed; each device that takes part of a family loads it, unless it is there.

    Times are rounded up to whole ticks, so the schedule found is never promised too short; it starts
    from the packing and is never worse.

    Raises:
        ConfigError: OR-Tools is not installed.
    """
    packed = pack(needs, slots)
    start = finish_s(packed, slots)
    bound = lower_bound_s(families_of(needs, slots), devices=[slot.device for slot in slots])
    if not needs or start <= 0:
        return ExactPlan(packed, start, start)
    found = _solved(needs, slots, tick_s=start / TICKS, hint=packed, time_limit_s=time_limit_s)
    if found is None:
        return ExactPlan(packed, start, min(start, bound))
    best = found.packing if finish_s(found.packing, slots) < start else packed
    return ExactPlan(best, finish_s(best, slots), min(start, max(bound, found.bound_s)))


class _Solved(NamedTuple):
    packing: Packing
    bound_s: float


def _cp_sat() -> ModuleType:
    try:
        from ortools.sat.python import cp_model
    except ModuleNotFoundError as missing:
        raise ConfigError(
            "an exact plan needs OR-Tools, which is not installed.",
            remedy="Install it with `pip install 'muster[plan]'`, or leave out the exact plan.",
        ) from missing
    return cp_model


def _solved(
    needs: Sequence[Need], slots: Sequence[Slot], *, tick_s: float, hint: Packing, time_limit_s: float
) -> _Solved | None:
    cp = _cp_sat()
    model = cp.CpModel()
    finish = model.new_int_var(0, 2 * TICKS, "finish")
    shares: dict[tuple[int, int], cp_model.IntVar] = {}
    is_equal = all(slot.device == EQUAL for slot in slots)
    pace = 1 if is_equal else _PACE
    used: list[list[cp_model.LinearExprT]] = [[pace * math.ceil(slot.ready_s / tick_s)] for slot in slots]
    most = max(slot.device.memory_gib for slot in slots)
    for n, need in enumerate(needs):
        work = math.ceil(need.work_s / tick_s)
        for d, slot in enumerate(slots):
            fits = slot.may_hold(need, most_gib=most)
            share = shares[n, d] = model.new_int_var(0, work if fits else 0, f"share_{n}_{d}")
            takes = model.new_bool_var(f"takes_{n}_{d}")
            model.add(share <= work * takes)
            load_s, slow = _costs(need, slot)
            used[d] += [
                math.ceil(pace * slow - _ROUNDING) * share,
                pace * math.ceil(load_s / tick_s) * takes,
            ]
            hinted = sum(p.work_s / slow for p in hint.stints[d] if p.engine_id == need.engine_id)
            model.add_hint(share, min(work, math.ceil(hinted / tick_s)))
            model.add_hint(takes, hinted > 0)
        model.add(sum(shares[n, d] for d in range(len(slots))) == work)
    for parts in used:
        model.add(sum(parts) <= pace * finish)
    model.minimize(finish)
    solver = cp.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit_s
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    if solver.solve(model) not in (cp.OPTIMAL, cp.FEASIBLE):
        return None
    stints = tuple(
        tuple(
            Stint(need.engine_id, _costs(need, slot)[0], share * tick_s * _costs(need, slot)[1])
            for n, need in enumerate(needs)
            if (share := solver.value(shares[n, d]))
        )
        for d, slot in enumerate(slots)
    )
    # Rounding up adds at most one tick per family and load, and a step to the time of each tick of work: what
    # is proven holds for the rounded work.
    slowest = min(_costs(need, slot)[1] for need in needs for slot in slots)
    rounded = 0.0 if is_equal else solver.best_objective_bound / (pace * slowest)
    slack_s = (2 * len(needs) + rounded) * tick_s
    bound_s = max(0.0, solver.best_objective_bound * tick_s - slack_s)
    return _Solved(Packing(stints, solver.objective_value * tick_s), bound_s)


def _costs(need: Need, slot: Slot) -> tuple[float, float]:
    """Seconds of a load in a slot, and of what is one second of work where seconds are counted."""
    load_s = 0.0 if need.engine_id in slot.here else slot.device.load_s(need.engine_id, need.load_s)
    return load_s, slot.device.work_s(need.engine_id, 1.0)
