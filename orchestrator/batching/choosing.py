"""Choice of the engine that a device serves next.

Grouping work by base weights, so that one load serves everything that waits for it, is the batch
inference of symbolic mixtures (arXiv:2503.05641, section 3.4); LoRA experts of one base share a load.
Why the order is what it is, and what was tried: docs/decisions/0008.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from orchestrator.batching.packing import Need, Packing, Slot, Stint, pack
from orchestrator.domain.assignments import INTERACTIVE, EngineBacklog
from orchestrator.domain.devices import Rate

DEFAULT_LOAD_S = 15.0
DEFAULT_TOKENS_PER_S = 500.0
"""Assumed until measured."""

SEAT_FACTOR = 4
"""Where the starvation bound cannot be kept without spending more than a fifth of the devices' time on
loads, a resident engine with work keeps its seat for this many times the load of the starved engine
that wants it."""


LEAST_JOIN, LEAST_JOIN_IDLE = 0.3, 0.03
"""An engine that others have is loaded once more only for this part of the load in work; the second number
where devices outnumber the engines, so that some would have nothing else to do."""

TRUST = 0.7
"""Of an estimate that nothing was measured for: how far it may move an engine's work from the typical
one, in the logarithm. Lengths guessed wrong by a factor of 3 cost most where loads are too long to repair
it."""


class Rates(NamedTuple):
    """Measured costs per engine: seconds of a load, estimated tokens served per second."""

    load_s: Mapping[str, float]
    tokens_per_s: Mapping[str, float]

    @classmethod
    def over_devices(cls, measured: Mapping[tuple[str, str], Rate]) -> "Rates":
        """From costs by (engine, device): per engine the mean over the devices that measured it."""
        loads: dict[str, list[float]] = defaultdict(list)
        speeds: dict[str, list[float]] = defaultdict(list)
        for (engine_id, _), rate in measured.items():
            if rate.load_s is not None:
                loads[engine_id].append(rate.load_s)
            if rate.tokens_per_s is not None:
                speeds[engine_id].append(rate.tokens_per_s)
        return cls(_means(loads), _means(speeds))

    def load(self, engine_id: str) -> float:
        return self.load_s.get(engine_id, DEFAULT_LOAD_S)

    def seconds(self, engine_id: str, n_tokens: float) -> float:
        return n_tokens / max(self.tokens_per_s.get(engine_id, DEFAULT_TOKENS_PER_S), 1e-9)

    def work(self, item: EngineBacklog) -> float:
        """Seconds that one device needs for an engine's waiting assignments."""
        return self.seconds(item.engine_id, item.est_tokens)

    def extended(self, engine_ids: Iterable[str]) -> "Rates":
        """For engines that were not measured yet, the mean of those that were."""
        ids = tuple(engine_ids)
        return Rates(_with_mean(self.load_s, ids), _with_mean(self.tokens_per_s, ids))


def _means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {engine_id: fmean(of_engine) for engine_id, of_engine in values.items()}


def _with_mean(measured: Mapping[str, float], engine_ids: Sequence[str]) -> Mapping[str, float]:
    known = dict(measured)  # another thread may be measuring
    return {**dict.fromkeys(engine_ids, fmean(known.values())), **known} if known else known


NO_RATES = Rates({}, {})


class EngineChoice(NamedTuple):
    engine_id: str
    reason: str


def choose_engine(
    backlog: Sequence[EngineBacklog],
    *,
    resident: str | None,
    later: frozenset[str] = frozenset(),
    max_wait_s: float = math.inf,
    resident_s: float = math.inf,
    rates: Rates = NO_RATES,
    n_devices: int = 1,
    n_engines: int | None = None,
) -> EngineChoice | None:
    """The engine whose assignments a free device claims next; None when there is nothing worth a load.

    In this order: an engine that nobody serves and that starved for `max_wait_s` (longest first);
    interactive work that nobody serves; what a short schedule of all waiting work on all devices
    gives this device first (`packing.pack`): the rest of its own engine before others, engines in `later`
    last, so that one load serves both stages. A device that the schedule does not need stays with its
    engine while that has work, else takes what nobody serves, else does nothing. Ties go by id.

    Args:
        backlog: waiting work of all engines, as the claiming worker sees it.
        resident: the engine that is loaded, or None.
        later: engines that a later stage will need.
        max_wait_s: starvation bound; inf = none.
        resident_s: seconds since the resident engine took its seat; see `SEAT_FACTOR`.
        rates: measured loads and throughput; every device is taken to be like this one.
        n_devices: devices that are alive, this one included.
        n_engines: engines that these devices are for; None = those in `backlog`. See `LEAST_JOIN`.
    """
    waiting = sorted((item for item in backlog if item.n_waiting), key=lambda item: item.engine_id)
    if not waiting:
        return None
    seated = next((item for item in waiting if item.engine_id == resident), None)
    unserved = [item for item in waiting if item is not seated and not item.n_devices_elsewhere]
    least_join = LEAST_JOIN_IDLE if n_devices > (n_engines or len(backlog)) else LEAST_JOIN
    kept = _is_kept(waiting, max_wait_s=max_wait_s, rates=rates, n_devices=n_devices)
    held_s = math.inf if kept or not seated else resident_s
    return (
        _starved(unserved, max_wait_s=max_wait_s, resident_s=held_s, rates=rates)
        or _interactive(seated, unserved)
        or _planned(waiting, seated, later, rates, n_devices, least_join)
    )


def needs_of(items: Sequence[EngineBacklog], rates: Rates) -> list[Need]:
    return [Need(item.engine_id, rates.load(item.engine_id), rates.work(item)) for item in items]


def hedged(needs: Sequence[Need], rates: Rates) -> list[Need]:
    """Work of engines that were not measured, drawn towards the geometric mean of all."""
    logs = {need.engine_id: math.log(need.work_s) for need in needs if need.work_s > 0}
    typical = fmean(logs.values()) if logs else 0.0
    return [
        need
        if need.engine_id in rates.tokens_per_s or need.engine_id not in logs
        else need._replace(work_s=math.exp(TRUST * logs[need.engine_id] + (1 - TRUST) * typical))
        for need in needs
    ]


def slots_elsewhere(items: Sequence[EngineBacklog], rates: Rates) -> list[Slot]:
    """The other devices that serve or load these engines, those that serve first."""
    resident, loading = [], []
    for item in items:
        load_s = rates.load(item.engine_id)
        loading += [Slot(item.engine_id, max(0.0, load_s - since)) for since in item.loading_s]
        n = item.n_devices_elsewhere - len(item.loading_s)
        leased_s = rates.seconds(item.engine_id, item.leased_tokens)
        resident += [Slot(item.engine_id, leased_s / n) for _ in range(n)]
    return resident + loading


def _is_kept(waiting: Sequence[EngineBacklog], *, max_wait_s: float, rates: Rates, n_devices: int) -> bool:
    """Whether loading every waiting engine once per `max_wait_s` leaves four fifths of the time."""
    loads_s = sum(rates.load(item.engine_id) for item in waiting)
    return (SEAT_FACTOR + 1) * loads_s <= max_wait_s * n_devices


def _starved(
    items: Sequence[EngineBacklog], *, max_wait_s: float, resident_s: float, rates: Rates
) -> EngineChoice | None:
    starved = [
        item
        for item in items
        if item.starved_s > max_wait_s and resident_s >= SEAT_FACTOR * rates.load(item.engine_id)
    ]
    if not starved:
        return None
    worst = min(starved, key=lambda item: (-item.starved_s, item.engine_id))
    return EngineChoice(
        worst.engine_id, f"waited {worst.starved_s:.0f} s, longer than the bound of {max_wait_s:.0f} s"
    )


def _interactive(seated: EngineBacklog | None, others: Sequence[EngineBacklog]) -> EngineChoice | None:
    urgent = [item for item in others if item.top_priority >= INTERACTIVE]
    if not urgent or (seated and seated.top_priority >= INTERACTIVE):
        return None
    first = min(urgent, key=lambda item: (-item.top_priority, -item.oldest_wait_s, item.engine_id))
    return EngineChoice(first.engine_id, "an interactive request waits for it")


def _planned(
    waiting: Sequence[EngineBacklog],
    seated: EngineBacklog | None,
    later: frozenset[str],
    rates: Rates,
    n_devices: int,
    least_join: float,
) -> EngineChoice | None:
    elsewhere = slots_elsewhere(waiting, rates)
    n_empty = max(0, n_devices - len(elsewhere) - 1)
    mine = Slot(seated.engine_id if seated else None)
    needs = hedged(needs_of(waiting, rates), rates)
    packing = pack(needs, [*elsewhere, *[Slot()] * n_empty, mine])
    stints = _my_stints(packing, n_elsewhere=len(elsewhere), is_seated=seated is not None)
    served = {item.engine_id for item in waiting if item.n_devices_elsewhere}
    worth = [p for p in stints if p.engine_id not in served or p.work_s >= least_join * p.load_s]
    first = min(worth, key=lambda p: (p.load_s > 0, p.engine_id in later), default=None)
    if seated and (first is None or first.engine_id == seated.engine_id):
        return EngineChoice(seated.engine_id, "resident and has waiting work")
    if first is None:
        return _unserved(waiting, later, rates)
    item = next(item for item in waiting if item.engine_id == first.engine_id)
    return EngineChoice(first.engine_id, _reason(item, first, is_later=first.engine_id in later))


def _unserved(waiting: Sequence[EngineBacklog], later: frozenset[str], rates: Rates) -> EngineChoice | None:
    """What the schedule leaves to a device that is still busy, a free one may load now."""
    items = [item for item in waiting if not item.n_devices_elsewhere and item.engine_id not in later]
    if not items:
        return None
    best = min(items, key=lambda item: (-rates.work(item), item.engine_id))
    return EngineChoice(best.engine_id, f"nobody serves it ({best.n_waiting} assignments)")


def _my_stints(packing: Packing, *, n_elsewhere: int, is_seated: bool) -> tuple[Stint, ...]:
    """This device's share; devices with nothing are alike, and the first to ask takes the fullest."""
    if is_seated:
        return packing.stints[-1]
    return max(packing.stints[n_elsewhere:], key=lambda stints: sum(p.load_s + p.work_s for p in stints))


def _reason(item: EngineBacklog, stint: Stint, *, is_later: bool) -> str:
    place = " of the last stage" if is_later else ""
    if item.n_devices_elsewhere:
        return (
            f"shares work{place} with {item.n_devices_elsewhere} other devices: "
            f"{stint.work_s:.0f} s for a load of {stint.load_s:.0f} s"
        )
    return f"has the most waiting work{place} ({item.n_waiting} assignments)"
