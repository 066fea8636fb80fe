"""Which engine a device serves next, how much it claims, and what the rest of the run will take.

Pure functions over the backlog: the device loop, the progress bar and the simulator decide alike.
Grouping work by base weights, so that one load serves everything that waits for it, is the batch
inference of symbolic mixtures (arXiv:2503.05641, section 3.4); LoRA experts of one base share a load.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from orchestrator.domain.assignments import INTERACTIVE, Assignment, Call, EngineBacklog, LoadPlan

DEFAULT_LOAD_S = 15.0
DEFAULT_TOKENS_PER_S = 500.0
"""Assumed until measured."""

CHARS_PER_TOKEN = 4

_HALVINGS = 40

SEAT_FACTOR = 4
"""A resident engine with work keeps its seat for this many times the load of the starved engine that
wants it, so that starvation costs at most a fifth of a device's time."""


class Rates(NamedTuple):
    """Measured costs per engine: seconds of a load, estimated tokens served per second."""

    load_s: Mapping[str, float]
    tokens_per_s: Mapping[str, float]

    def load(self, engine_id: str) -> float:
        return self.load_s.get(engine_id, DEFAULT_LOAD_S)

    def work(self, item: EngineBacklog) -> float:
        """Seconds that one device needs for an engine's waiting assignments."""
        return item.est_tokens / max(self.tokens_per_s.get(item.engine_id, DEFAULT_TOKENS_PER_S), 1e-9)

    def extended(self, engine_ids: Iterable[str]) -> "Rates":
        """For engines that were not measured yet, the mean of those that were."""
        ids = tuple(engine_ids)
        return Rates(_with_mean(self.load_s, ids), _with_mean(self.tokens_per_s, ids))


def _with_mean(measured: Mapping[str, float], engine_ids: Sequence[str]) -> Mapping[str, float]:
    known = dict(measured)  # another thread may be measuring
    return {**dict.fromkeys(engine_ids, fmean(known.values())), **known} if known else known


NO_RATES = Rates({}, {})


class EngineChoice(NamedTuple):
    engine_id: str
    reason: str


class Family(NamedTuple):
    """An engine's work on the bounds' terms: seconds to load (0 where resident), seconds to serve."""

    load_s: float
    work_s: float


def estimated_tokens(call: Call) -> int:
    """Tokens of the prompt, from its length, and of the longest output."""
    return sum(len(m.content) for m in call.messages) // CHARS_PER_TOKEN + call.sampling.max_tokens


def group_by_engine(assignments: Iterable[Assignment]) -> dict[str, list[Assignment]]:
    """Batches: assignments by engine, both in first-seen order."""
    batches: dict[str, list[Assignment]] = {}
    for assignment in assignments:
        batches.setdefault(assignment.engine_id, []).append(assignment)
    return batches


def shard_size(*, per_s: float | None, target_s: float = 5.0, low: int = 16, high: int = 256) -> int:
    """Assignments to claim at once: `target_s` of work at the measured rate, within [low, high].

    Args:
        per_s: assignments finished per second; None before anything was measured.
    """
    if per_s is None:
        return low
    return max(low, min(high, math.floor(per_s * target_s)))


def retry_limit(limit: int, *, attempt: int) -> int:
    """Shard size for assignments already claimed `attempt` times without a result: an eighth of the
    shard, then one by one, so that a prompt that kills its engine ends alone."""
    return max(1, limit >> (3 * attempt)) if attempt < 2 else 1


def choose_engine(
    backlog: Sequence[EngineBacklog],
    *,
    resident: str | None,
    later: frozenset[str] = frozenset(),
    max_wait_s: float = math.inf,
    resident_s: float = math.inf,
    rates: Rates = NO_RATES,
) -> EngineChoice | None:
    """The engine whose assignments a free device claims next; None when there is nothing worth a load.

    In this order: an engine with an assignment that waited longer than `max_wait_s` (longest first);
    interactive work; the resident engine; the engine with most work. Engines that another device
    serves come after those that none does, and only while half of their work takes longer than a
    load; engines in `later` come last, so that one load serves both stages. Ties go by id.

    Args:
        backlog: waiting work of all engines, as the claiming worker sees it.
        resident: the engine that is loaded, or None.
        later: engines that a later stage will need.
        max_wait_s: starvation bound; inf = none.
        resident_s: seconds since the resident engine took its seat; see `SEAT_FACTOR`.
        rates: measured loads and throughput.
    """
    waiting = [item for item in backlog if item.n_waiting]
    seated = next((item for item in waiting if item.engine_id == resident), None)
    others = [item for item in waiting if item is not seated]
    unserved = [item for item in others if not item.n_devices_elsewhere]
    return (
        _starved(unserved, max_wait_s=max_wait_s, resident_s=resident_s if seated else math.inf, rates=rates)
        or _interactive(seated, unserved)
        or (EngineChoice(seated.engine_id, "resident and has waiting work") if seated else None)
        or _most_work(others, later, rates)
    )


def plan(
    backlog: Sequence[EngineBacklog],
    *,
    resident: str | None,
    later: frozenset[str] = frozenset(),
    rates: Rates = NO_RATES,
    n_devices: int = 1,
) -> LoadPlan:
    """Loads and seconds left. Engines in `later` without waiting work yet count as one load each."""
    order = _visits(backlog, resident=resident, later=later, rates=rates)
    work = {item.engine_id: rates.work(item) for item in backlog}
    pending = [engine_id for engine_id in sorted(later) if engine_id not in order] if order else []
    families = [
        Family(0.0 if engine_id == resident else rates.load(engine_id), work.get(engine_id, 0.0))
        for engine_id in [*order, *pending]
    ]
    bound = lower_bound_s(families, n_devices=n_devices)
    total = sum(f.load_s + f.work_s for f in families)
    return LoadPlan(
        order=(*order, *pending),
        loads_left=sum(engine_id != resident for engine_id in [*order, *pending]),
        seconds_left=total if n_devices == 1 else max(bound, total / n_devices),
        lower_bound_s=bound,
    )


def lower_bound_s(families: Sequence[Family], *, n_devices: int) -> float:
    """Seconds that no schedule on `n_devices` >= 1 can beat when families may be split.

    The largest of LB1 = Σ(L+T)/G, LB2 = max(L + T/G), and LB6: the least C with
    Σ(T + L·⌈T/(C−L)⌉) <= G·C (a device gives a family at most C−L seconds and pays L for it).
    """
    if not families:
        return 0.0
    spread = sum(f.load_s + f.work_s for f in families) / n_devices
    longest = max(f.load_s + f.work_s / n_devices for f in families)
    return max(spread, longest, _split_bound(families, n_devices=n_devices, at_least=max(spread, longest)))


def _split_bound(families: Sequence[Family], *, n_devices: int, at_least: float) -> float:
    """LB6 by bisection, approached from below."""
    low, high = at_least, sum(f.load_s + f.work_s for f in families)
    if _fits(families, at_least, n_devices=n_devices):
        return at_least
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _fits(families, middle, n_devices=n_devices) else (middle, high)
    return low


def _fits(families: Sequence[Family], seconds: float, *, n_devices: int) -> bool:
    used = 0.0
    for load_s, work_s in families:
        if seconds <= load_s:
            return False
        used += work_s + load_s * max(1, math.ceil(work_s / (seconds - load_s)))
    return used <= n_devices * seconds


def _starved(
    items: Sequence[EngineBacklog], *, max_wait_s: float, resident_s: float, rates: Rates
) -> EngineChoice | None:
    starved = [
        item
        for item in items
        if item.oldest_wait_s > max_wait_s and resident_s >= SEAT_FACTOR * rates.load(item.engine_id)
    ]
    if not starved:
        return None
    worst = min(starved, key=lambda item: (-item.oldest_wait_s, item.engine_id))
    return EngineChoice(
        worst.engine_id, f"waited {worst.oldest_wait_s:.0f} s, longer than the bound of {max_wait_s:.0f} s"
    )


def _interactive(seated: EngineBacklog | None, others: Sequence[EngineBacklog]) -> EngineChoice | None:
    urgent = [item for item in others if item.top_priority >= INTERACTIVE]
    if not urgent or (seated and seated.top_priority >= INTERACTIVE):
        return None
    first = min(urgent, key=lambda item: (-item.top_priority, -item.oldest_wait_s, item.engine_id))
    return EngineChoice(first.engine_id, "an interactive request waits for it")


def _most_work(items: Sequence[EngineBacklog], later: frozenset[str], rates: Rates) -> EngineChoice | None:
    worth = [
        item
        for item in items
        if not item.n_devices_elsewhere or rates.work(item) / 2 > rates.load(item.engine_id)
    ]
    if not worth:
        return None
    best = min(
        worth,
        key=lambda item: (
            item.engine_id in later,
            item.n_devices_elsewhere > 0,
            -rates.work(item),
            -item.n_waiting,
            item.engine_id,
        ),
    )
    shared = (
        "shares the most work with another device"
        if best.n_devices_elsewhere
        else "has the most waiting work"
    )
    place = " of the last stage" if best.engine_id in later else ""
    return EngineChoice(best.engine_id, f"{shared}{place} ({best.n_waiting} assignments)")


def _visits(
    backlog: Sequence[EngineBacklog], *, resident: str | None, later: frozenset[str], rates: Rates
) -> tuple[str, ...]:
    """Engines in the order one device serves them when nothing new arrives."""
    left = {
        item.engine_id: item.model_copy(update={"n_devices_elsewhere": 0})
        for item in backlog
        if item.n_waiting
    }
    order: list[str] = []
    while choice := choose_engine(list(left.values()), resident=resident, later=later, rates=rates):
        order.append(choice.engine_id)
        del left[choice.engine_id]
        resident = choice.engine_id
    return tuple(order)
