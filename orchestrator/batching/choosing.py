"""Choice of the engine that a device serves next.

Grouping work by base weights, so that one load serves everything that waits for it, is the batch
inference of symbolic mixtures (arXiv:2503.05641, section 3.4); LoRA experts of one base share a load.
Why the order is what it is, and what was tried: docs/decisions/0008.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from orchestrator.batching.neighbours import ALONE, Neighbours
from orchestrator.batching.packing import Need, Stint, pack
from orchestrator.batching.rates import NO_RATES, Rates
from orchestrator.domain.assignments import INTERACTIVE, EngineBacklog

SEAT_FACTOR = 4
"""Where the starvation bound cannot be kept without spending more than a fifth of the devices' time on
loads, a resident engine with work keeps its seat for this many times the load of the starved engine
that wants it."""


LEAST_JOIN, LEAST_JOIN_IDLE = 0.3, 0.03
"""An engine that others have is loaded once more only for this part of the load in work; the second number
where devices outnumber the engines, so that some would have nothing else to do."""

LEAST_JOIN_HIDDEN = 0.03
"""The same where the load is hidden, and costs no more than memory."""

LOADS_AHEAD = 3
"""The next engine is loaded ahead once the work of the device's engines is shorter than so many of its loads:
earlier it would only take memory, and the choice might still change."""


LEAST_GAIN = 0.01
"""Of the time until all is done: schedules that differ by less count as equally long. Each is made by a
heuristic, so smaller differences say little."""


def is_time(left_s: float, load_s: float) -> bool:
    """True if a load ahead begins now, with so many seconds of work left; see `LOADS_AHEAD`."""
    return left_s < LOADS_AHEAD * load_s


TRUST = 0.3
"""Of an estimate that nothing was measured for: how far it may move what one of an engine's calls takes from
the typical call, in the logarithm. How many calls wait is known, so that is not doubted. Lengths guessed
wrong by a factor of 3 cost most where loads are too long to repair it."""


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
    neighbours: Neighbours = ALONE,
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
        rates: measured loads and throughput on this device.
        n_devices: devices that are alive, this one included.
        n_engines: engines that these devices are for; None = those in `backlog`. See `LEAST_JOIN`.
        neighbours: the others, where they are not equal to this one; memory; whether loads are hidden.
    """
    waiting = sorted((item for item in backlog if item.n_waiting), key=lambda item: item.engine_id)
    if not waiting:
        return None
    seated = next((item for item in waiting if item.engine_id == resident), None)
    unserved = _unserved(waiting, seated, neighbours)
    kept = _is_kept(waiting, max_wait_s=max_wait_s, rates=rates, n_devices=n_devices)
    held_s = math.inf if kept or not seated else resident_s
    least_join = LEAST_JOIN_IDLE if n_devices > (n_engines or len(backlog)) else LEAST_JOIN
    view = _View(waiting, later, rates, n_devices, neighbours, least_join)
    return (
        _starved(unserved, max_wait_s=max_wait_s, resident_s=held_s, rates=rates)
        or _interactive(seated, unserved)
        or _planned(view, seated, unserved)
    )


def choose_ahead(
    backlog: Sequence[EngineBacklog],
    *,
    resident: str,
    later: frozenset[str] = frozenset(),
    max_wait_s: float = math.inf,
    rates: Rates = NO_RATES,
    n_devices: int = 1,
    n_engines: int | None = None,
    neighbours: Neighbours = ALONE,
) -> EngineChoice | None:
    """The engine to load beside the resident one, to be served after it; None = nothing that is worth a load
    and fits beside it. Arguments as of `choose_engine`; where loads are not hidden, what to make ready.

    The same order: starved, interactive, then what the schedule gives this device after its own engine, in
    the order that hides most of the loads (`rooms.HidingRoom`), engines in `later` last.
    """
    waiting = sorted((item for item in backlog if item.n_waiting), key=lambda item: item.engine_id)
    seated = next((item for item in waiting if item.engine_id == resident), None)
    beside = [
        item
        for item in waiting
        if item is not seated
        and item.engine_id not in neighbours.beside
        and neighbours.holds(item.engine_id)
        and (not neighbours.hides or neighbours.holds_both(item.engine_id, resident))
    ]
    if not beside:
        return None
    unserved = [item for item in beside if not item.n_devices_elsewhere]
    least_join = LEAST_JOIN_IDLE if n_devices > (n_engines or len(backlog)) else LEAST_JOIN
    view = _View(waiting, later, rates, n_devices, neighbours, least_join)
    return (
        _starved(unserved, max_wait_s=max_wait_s, resident_s=math.inf, rates=rates)
        or _interactive(None, unserved)
        or _planned_ahead(view, seated, beside)
    )


class _View(NamedTuple):
    """Waiting work by id, and what is known of engines and devices."""

    waiting: Sequence[EngineBacklog]
    later: frozenset[str]
    rates: Rates
    n_devices: int
    neighbours: Neighbours
    least_join: float

    @property
    def needs(self) -> list[Need]:
        """The waiting work, hedged where it was not measured."""
        return hedged(self.neighbours.needs(self.waiting, self.rates), self.waiting, self.rates)

    @property
    def schedules_hidden_loads(self) -> bool:
        """True where the schedule of hidden loads can be relied on: devices are several and equal, and what
        calls of the engines take was measured. Devices that outnumber the engines have no choice."""
        return (
            self.neighbours.hides
            and self.n_devices > 1
            and self.least_join == LEAST_JOIN
            and not self.neighbours.differ
            and all(item.engine_id in self.rates.tokens_per_s for item in self.waiting)
        )

    def item(self, engine_id: str) -> EngineBacklog:
        return next(item for item in self.waiting if item.engine_id == engine_id)

    def is_worth(self, stint: Stint) -> bool:
        """Whether a stint is worth its load: if others serve its engine, only with enough to do."""
        item = self.item(stint.engine_id)
        least_join = LEAST_JOIN_HIDDEN if self.neighbours.hides else self.least_join
        return not item.n_devices_elsewhere or stint.work_s >= least_join * stint.load_s


def hedged(needs: Sequence[Need], items: Sequence[EngineBacklog], rates: Rates) -> list[Need]:
    """Work of engines that were not measured: what one of their calls takes is drawn towards the geometric
    mean of all, see `TRUST`."""
    n_calls = {item.engine_id: item.n_waiting for item in items}
    logs = {n.engine_id: math.log(n.work_s / n_calls[n.engine_id]) for n in needs if n.work_s > 0}
    typical = fmean(logs.values()) if logs else 0.0
    return [
        need
        if need.engine_id in rates.tokens_per_s or need.engine_id not in logs
        else need._replace(
            work_s=n_calls[need.engine_id] * math.exp(TRUST * logs[need.engine_id] + (1 - TRUST) * typical)
        )
        for need in needs
    ]


def _unserved(
    waiting: Sequence[EngineBacklog], seated: EngineBacklog | None, neighbours: Neighbours
) -> list[EngineBacklog]:
    """Engines that this device may load and no other has."""
    return [
        item
        for item in waiting
        if item is not seated
        and not item.n_devices_elsewhere
        and item.engine_id not in neighbours.beside
        and neighbours.holds(item.engine_id)
    ]


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
    view: _View, seated: EngineBacklog | None, unserved: Sequence[EngineBacklog]
) -> EngineChoice | None:
    if seated is None and (quick := _quick(view, unserved)):
        return quick
    stints, finish_s = _scheduled(view, seated)
    worth = [p for p in stints if p.engine_id not in view.neighbours.beside and view.is_worth(p)]
    first = _first(view, worth, seated)
    if seated and (first is None or first.engine_id == seated.engine_id or _can_hide(view, seated, first)):
        return EngineChoice(seated.engine_id, "resident and has waiting work")
    if ahead := _loaded_ahead(view, first):
        return ahead
    if first is None:
        return _left_over(view, unserved, finish_s)
    item = view.item(first.engine_id)
    return EngineChoice(first.engine_id, _reason(item, first, is_later=first.engine_id in view.later))


def _can_hide(view: _View, seated: EngineBacklog, first: Stint) -> bool:
    """Whether what the schedule gives this device instead of its engine is better loaded while that works."""
    is_ready = first.engine_id == view.neighbours.ahead_id and first.load_s == 0
    both = view.neighbours.holds_both(first.engine_id, seated.engine_id)
    return view.neighbours.hides and both and not is_ready


def _quick(view: _View, unserved: Sequence[EngineBacklog]) -> EngineChoice | None:
    """The engine that an empty device begins with where the loads after the first are hidden: the one that
    makes it stand idle least, while it is loaded and until the load after it has ended. None = the schedule
    says: of one engine that nobody serves, of a later stage, and beside engines that the device has."""
    near = view.neighbours
    if not view.schedules_hidden_loads or near.ahead_id is not None or near.beside:
        return None
    loads_s = {i.engine_id: view.rates.load(i.engine_id) for i in unserved if i.engine_id not in view.later}
    if len(loads_s) < 2:
        return None
    idle_s = {
        item.engine_id: _idle_s(view, item, fmean(s for e, s in loads_s.items() if e != item.engine_id))
        for item in view.waiting
        if near.holds(item.engine_id) and item.engine_id not in view.later
    }
    item = view.item(min(idle_s, key=lambda engine_id: (idle_s[engine_id], engine_id)))
    return EngineChoice(item.engine_id, f"is there soonest ({item.n_waiting} assignments)")


def _idle_s(view: _View, item: EngineBacklog, next_load_s: float) -> float:
    """Seconds that devices stand idle more if one more begins with an engine: its load, and what its work
    lacks to hide the load after it, on every device that has it."""
    work_s, n = view.rates.work(item), item.n_devices_elsewhere
    lacking = max(0.0, (n + 1) * next_load_s - work_s) - max(0.0, n * next_load_s - work_s)
    return view.rates.load(item.engine_id) + lacking


def _loaded_ahead(view: _View, first: Stint | None) -> EngineChoice | None:
    """The engine that was loaded beside one whose turn is over, although the schedule would now load another:
    that is better loaded while this one works."""
    ahead_id = view.neighbours.ahead_id
    is_first = first is not None and first.engine_id == ahead_id
    if is_first or not view.neighbours.hides or ahead_id not in {item.engine_id for item in view.waiting}:
        return None
    return EngineChoice(ahead_id, "loaded ahead and has waiting work")


def _planned_ahead(
    view: _View, seated: EngineBacklog | None, beside: Sequence[EngineBacklog]
) -> EngineChoice | None:
    if view.schedules_hidden_loads:
        return _tried(view, seated, beside)
    stints, _ = _scheduled(view, seated, is_first=True)
    known = {item.engine_id for item in beside}
    first = _first(view, [p for p in stints if p.engine_id in known and view.is_worth(p)], None)
    if first is None:
        return None
    item = view.item(first.engine_id)
    return EngineChoice(first.engine_id, _reason(item, first, is_later=first.engine_id in view.later))


def _tried(view: _View, seated: EngineBacklog | None, beside: Sequence[EngineBacklog]) -> EngineChoice | None:
    """The engine with which, loaded next, the schedule for all is shortest: each is tried (a rollout;
    Bertsekas, Tsitsiklis and Wu 1997). Of those within `LEAST_GAIN` one that the schedule gives this device
    anyway, then the one that it would work for longest."""
    needs = view.needs
    others = view.neighbours.slots_elsewhere(view.waiting, needs, view.rates, n_devices=view.n_devices)
    mine = view.neighbours.slot(needs, seated.engine_id if seated else None)
    known = pack(needs, [mine, *others], asks=0)
    given = {stint.engine_id for stint in known.stints[0]}
    best: tuple[tuple[bool, float, bool, float, str], EngineBacklog, Stint] | None = None
    for item in beside:
        slot = mine._replace(ahead_id=item.engine_id, ahead_s=view.rates.load(item.engine_id))
        packing = pack(needs, [slot, *others], asks=0)
        stint = next((p for p in packing.stints[0] if p.engine_id == item.engine_id), None)
        if stint is None or not view.is_worth(stint):
            continue
        steps = round(packing.finish_s / known.finish_s / LEAST_GAIN) if known.finish_s > 0 else 0
        rank = (
            item.engine_id in view.later,
            steps,
            item.engine_id not in given,
            -stint.work_s,
            item.engine_id,
        )
        if best is None or rank < best[0]:
            best = rank, item, stint
    if best is None:
        return None
    _, item, stint = best
    return EngineChoice(item.engine_id, _reason(item, stint, is_later=item.engine_id in view.later))


def _scheduled(
    view: _View, seated: EngineBacklog | None, *, is_first: bool = False
) -> tuple[tuple[Stint, ...], float]:
    """This device's stints in a schedule for all, and when that is done. Devices with nothing are alike if
    they are equal, and the first to ask takes the fullest.

    Args:
        is_first: of devices that would do as well this one is taken, and not the others: each of them would
            leave it to the next.
    """
    needs = view.needs
    others = view.neighbours.slots_elsewhere(view.waiting, needs, view.rates, n_devices=view.n_devices)
    mine = view.neighbours.slot(needs, seated.engine_id if seated else None)
    slots = [mine, *others] if is_first else [*others, mine]
    packing = pack(needs, slots, asks=0 if is_first else None)
    if seated or is_first:
        return packing.stints[0 if is_first else -1], packing.finish_s
    alike = [
        stints
        for slot, stints in zip(slots, packing.stints, strict=True)
        if (slot.engine_id, slot.ahead_id, slot.beside) == (None, mine.ahead_id, mine.beside)
        and slot.device == mine.device
    ]
    return max(alike, key=lambda stints: sum(p.load_s + p.work_s for p in stints)), packing.finish_s


def _first(view: _View, stints: Sequence[Stint], seated: EngineBacklog | None) -> Stint | None:
    """The stint that comes first: of what is there, then of no later stage, then by the schedule."""
    ranks = {stint: float(ix) for ix, stint in enumerate(stints)}
    there = None if seated is None else seated.engine_id
    ahead = view.neighbours.ahead_id
    return min(
        stints,
        key=lambda p: (p.engine_id != there, p.engine_id in view.later, p.engine_id != ahead, ranks[p]),
        default=None,
    )


def _left_over(view: _View, unserved: Sequence[EngineBacklog], finish_s: float) -> EngineChoice | None:
    """What the schedule leaves to a device that is still busy, a free one may load now; where that is a
    quicker one, only if its own load ends before all is done."""
    items = [item for item in unserved if item.engine_id not in view.later]
    if view.neighbours.differ:
        items = [item for item in items if view.rates.load(item.engine_id) < finish_s]
    if not items:
        return None
    best = min(items, key=lambda item: (-view.rates.work(item), item.engine_id))
    return EngineChoice(best.engine_id, f"nobody serves it ({best.n_waiting} assignments)")


def _reason(item: EngineBacklog, stint: Stint, *, is_later: bool) -> str:
    place = " of the last stage" if is_later else ""
    if item.n_devices_elsewhere:
        return (
            f"shares work{place} with {item.n_devices_elsewhere} other devices: "
            f"{stint.work_s:.0f} s for a load of {stint.load_s:.0f} s"
        )
    return f"has the most waiting work{place} ({item.n_waiting} assignments)"
