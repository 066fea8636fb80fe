"""A loop's view of the work on the books, and what it makes of it: the next engine to serve."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from orchestrator.batching import EngineChoice, Kinds, Neighbours, Rates, choose_ahead, choose_engine
from orchestrator.batching.devices import EQUAL
from orchestrator.batching.reported import devices_of, neighbours_of, roomy
from orchestrator.domain.assignments import BACKGROUND, INTERACTIVE, EngineBacklog, JobState
from orchestrator.domain.devices import LIVE_S, DeviceReport
from orchestrator.domain.engines import NOBODY_SERVES, START_ONE, serving_loops
from orchestrator.ports.composing import LaterEngines
from workers.device.faults import Fault
from workers.device.kit import Kit
from workers.leases.owners import loop_of

GIVE_UP_CHUNK, GIVE_UP_CHUNKS = 500, 8
"""Assignments given up in one transaction, and transactions of one look at the books."""

RUNNING_JOBS = 32
HOLD_SHARDS = 2
"""A change of engines waits for routing as long as its load, or so many shards, would take."""

NOBODY = Fault("expert_unavailable", NOBODY_SERVES, START_ONE, 0.0, math.inf, is_lasting=False, n=0)
"""The fault of an engine that no live worker knows."""


PausedEngines = Callable[[], Mapping[str, float]]

PAUSED = Fault(
    "expert_unavailable", "the expert is paused", "Resume it.", 0.0, math.inf, is_lasting=False, n=0
)
"""The fault of an engine all of whose experts are paused."""


class OwnDevice(NamedTuple):
    """A device as its own loop knows it, at one moment.

    Attributes:
        kind: its name, as costs are measured by it.
        rates: what loads and work cost there now; `kinds`: how other devices compare.
        beside: engines in other places than the one that is chosen for.
        memory_gib: of the device, None = not known; `needed_gib`: that engines take, as far as is known.
        hides: whether it loads an engine while another one works.
        ahead_id: the engine that it prepares, or has prepared; `ahead_s`: for how long.
    """

    kind: str
    rates: Rates
    kinds: Kinds
    beside: tuple[str, ...] = ()
    memory_gib: float | None = None
    needed_gib: Mapping[str, float] = MappingProxyType({})
    hides: bool = False
    ahead_id: str | None = None
    ahead_s: float = 0.0


class Books:
    """Waiting work by engine, refreshed every `Pace.look_s` and when `Timers` say so.

    Work of engines that cannot be served now is left alone. It is given up when no live device can serve
    its engine, and either no wait heals that, or it has been so for longer than the settings allow.

    Args:
        engines: those of the pool; `remote`: those of them that need no device.
        later_engines: engines that later stages of a job may need.
        paused: engines whose work waits because an admin says so, and for how many seconds.

    Attributes:
        n_devices: live devices, this one included.
    """

    def __init__(
        self,
        kit: Kit,
        *,
        engines: Set[str],
        remote: Set[str],
        later_engines: LaterEngines,
        paused: PausedEngines = dict,
    ) -> None:
        self._paused = paused
        self._paused_engines: Mapping[str, float] = {}
        self._kit = kit
        self._engines = engines
        self._remote = remote
        self._later_engines = later_engines
        self._waiting: dict[str, EngineBacklog] = {}
        self._later: frozenset[str] = frozenset()
        self._n_jobs = 0
        self._is_routing = False
        self._held_at: float | None = None
        self._asked_at: dict[str, float] = {}
        self.n_devices = 1
        self._others: list[DeviceReport] = []

    def look(self) -> None:
        """Refresh what is due."""
        if self._kit.timers.is_due("jobs", self._kit.pace.look_s):
            jobs = [
                p.job for p in self._kit.stores.jobs.jobs(limit=RUNNING_JOBS) if p.state is JobState.RUNNING
            ]
            self._later = frozenset(engine_id for job in jobs for engine_id in self._later_engines(job))
            self._n_jobs = len(jobs)
            self._count(self._kit.stores.devices.devices(LIVE_S))
        if self._kit.timers.is_due("backlog", self._kit.pace.look_s):
            self._paused_engines = self._paused()
            waiting = [
                item
                for item in self._kit.stores.waiting.backlog(owner=self._kit.owner)
                if item.n_waiting and item.top_priority >= self._kit.ledger.min_priority
            ]
            self._waiting = {item.engine_id: item for item in waiting if self._is_served(item)}
            self._is_routing = self._kit.stores.waiting.is_routing()
            self._note_questions()

    def is_pressed(self, *, besides: str | None) -> bool:
        """True if a question has waited for longer than it may, for an engine that nobody serves; `besides`:
        one that serves its questions itself."""
        until = self._kit.clock() - self._kit.settings.interactive_wait_s
        return any(since < until for e, since in self._asked_at.items() if e != besides)

    def waiting(self, engine_id: str) -> EngineBacklog | None:
        """Work that waits for an engine; None = there is none."""
        return self._waiting.get(engine_id)

    def claimed(self, engine_id: str, n: int, *, limit: int) -> None:
        """So many of an engine's assignments were claimed; with less than the limit, look again.

        Args:
            n: number of those that were claimed, 0 to `limit`.
        """
        if n < limit:
            self._kit.timers.due_now("backlog")
        elif item := self._waiting.get(engine_id):
            self._waiting[engine_id] = _less(item, n)

    @property
    def remote_work(self) -> list[EngineBacklog]:
        """Work of engines that need no device."""
        return [item for item in self._waiting.values() if item.engine_id in self._remote]

    def choose(self, own: OwnDevice, *, resident: str | None, resident_s: float) -> EngineChoice | None:
        """The engine that a place of this device serves next: one for which more than background work waits,
        if that is worth it.

        Args:
            resident: the engine there now, for `resident_s` seconds.
        """
        choose = partial(
            choose_engine,
            resident=resident,
            later=self._later,
            max_wait_s=self.max_wait_s,
            resident_s=resident_s,
            rates=own.rates,
            n_devices=self.n_devices,
            n_engines=len(self._engines - self._remote),
            neighbours=self._neighbours(own),
        )
        return self._first_of_tiers(choose)

    def choose_next(self, own: OwnDevice, *, resident: str) -> EngineChoice | None:
        """The engine to load while the resident one works, to be served after it; None = none is worth it."""
        choose = partial(
            choose_ahead,
            resident=resident,
            later=self._later,
            max_wait_s=self.max_wait_s,
            rates=own.rates,
            n_devices=self.n_devices,
            n_engines=len(self._engines - self._remote),
            neighbours=self._neighbours(own),
        )
        return self._first_of_tiers(choose)

    def _first_of_tiers(
        self, choose: Callable[[Sequence[EngineBacklog]], EngineChoice | None]
    ) -> EngineChoice | None:
        items = [item for item in self._waiting.values() if item.engine_id not in self._remote]
        if self.is_pressed(besides=None):
            items = [item for item in items if item.top_priority >= INTERACTIVE] or items
        ahead = [item for item in items if item.top_priority > BACKGROUND]
        tiers = [ahead, items] if len(ahead) < len(items) else [ahead]
        return next((choice for choice in map(choose, tiers) if choice is not None), None)

    def _neighbours(self, own: OwnDevice) -> Neighbours:
        """The other live devices as this one sees them."""
        others = devices_of(self._others, loop_of=loop_of)
        memory_gib = roomy(own.memory_gib, own.needed_gib)
        return Neighbours(
            EQUAL if memory_gib == math.inf else EQUAL._replace(memory_gib=memory_gib),
            neighbours_of(others, kinds=own.kinds, seen_from=own.kind, needed_gib=own.needed_gib),
            own.needed_gib,
            hides=own.hides,
            ahead_id=own.ahead_id,
            ahead_s=own.ahead_s,
            beside=own.beside,
        )

    def is_urgent(self, engine_id: str) -> bool:
        """True if a question waits for an engine, or work that has waited for too long."""
        item = self._waiting.get(engine_id)
        return item is not None and (item.top_priority >= INTERACTIVE or item.starved_s > self.max_wait_s)

    def holds(self, choice: EngineChoice, rates: Rates) -> bool:
        """True to wait with a change of engines: queries are being routed, and an engine that is served
        before all its work is known must be loaded again. Worth as long as that load or two shards take."""
        if not self._is_routing or self._has_urgent:
            self._held_at = None
            return False
        now = self._kit.clock()
        self._held_at = now if self._held_at is None else self._held_at
        worth_s = max(rates.load(choice.engine_id), HOLD_SHARDS * self._kit.settings.shard_s)
        return now - self._held_at < worth_s

    def changed(self) -> None:
        """The device changes its engine."""
        self._held_at = None

    def load_failed(self, engine_id: str, error: Exception) -> None:
        """An engine does not load here: it is left alone for a while, and the others are told."""
        self._kit.faults.load_failed(engine_id, error)
        self._kit.timers.due_now("backlog")

    @property
    def max_wait_s(self) -> float:
        """One batch job alone cannot starve itself: for it, fewest loads is best."""
        return self._kit.settings.max_wait_s if self._n_jobs > 1 or self._has_urgent else math.inf

    @property
    def _has_urgent(self) -> bool:
        return any(item.top_priority >= INTERACTIVE for item in self._waiting.values())

    def _note_questions(self) -> None:
        """Since when questions wait for engines of the device that nobody serves."""
        now = self._kit.clock()
        self._asked_at = {
            item.engine_id: self._asked_at.get(item.engine_id, now)
            for item in self._waiting.values()
            if item.top_priority >= INTERACTIVE
            and item.engine_id not in self._remote
            and not item.n_devices_elsewhere
        }

    def _count(self, devices: Iterable[DeviceReport]) -> None:
        self._others = [report for report in devices if loop_of(report.owner) != self._kit.owner]
        self.n_devices = 1 + len(devices_of(self._others, loop_of=loop_of))

    def _is_served(self, item: EngineBacklog) -> bool:
        """Whether this loop may serve an engine now; what nobody can is given up in time."""
        if (for_s := self._paused_engines.get(item.engine_id)) is not None:
            self._fail(item, PAUSED, for_s=for_s)
            return False
        is_known = item.engine_id in self._engines
        fault = self._kit.faults.since_it_worked(item.engine_id) if is_known else None
        is_tried = fault is not None and fault.is_tried
        if (fault is not None or not is_known) and not is_tried and not item.n_devices_elsewhere:
            self._give_up(item, fault)
        return is_known and self._kit.faults.of(item.engine_id) is None

    def _give_up(self, item: EngineBacklog, fault: Fault | None) -> None:
        """What has waited for too long, unless somebody else may still serve it."""
        others = serving_loops(item.engine_id, self._others, loop_of=loop_of)
        theirs = self._faults_of(item.engine_id, others) if others else []
        if others > {loop_of(report.owner) for report in theirs}:
            return
        if fault is None:
            if not others:
                self._fail(item, self._why_nobody(item.engine_id), for_s=math.inf, is_known=False)
            return
        for_s = min([self._kit.clock() - fault.since, *(report.state_s for report in theirs)])
        is_lasting = fault.is_lasting and all(report.state == "down" for report in theirs)
        self._fail(item, fault, for_s=for_s, at_once=is_lasting)

    def _faults_of(self, engine_id: str, loops: Set[str]) -> list[DeviceReport]:
        told = self._kit.stores.devices.faults(LIVE_S)
        return [r for r in told if r.engine_id == engine_id and loop_of(r.owner) in loops]

    def _why_nobody(self, engine_id: str) -> Fault:
        """The reason of whoever has the engine in its pool and does not serve it; else that nobody has."""
        if (own := self._kit.faults.withheld(engine_id)) is not None:
            return own
        told = (r for r in self._kit.stores.devices.faults(LIVE_S) if r.engine_id == engine_id and r.why)
        found = next(told, None)
        return NOBODY if found is None else NOBODY._replace(why=found.why or NOBODY.why, heal=found.heal)

    def _fail(
        self,
        item: EngineBacklog,
        fault: Fault,
        *,
        for_s: float,
        at_once: bool = False,
        is_known: bool = True,
    ) -> None:
        """Fail the work of an engine that has been away `for_s` seconds, as far as it was on the books for
        longer than a batch waits; a question waits no longer than its engine has been away."""
        settings = self._kit.settings
        if at_once:
            self._end(item, fault, min_priority=BACKGROUND, waited_s=0.0)
            return
        if item.top_priority >= INTERACTIVE and for_s > settings.engine_down_interactive_s:
            waited_s = 0.0 if is_known else settings.engine_down_interactive_s
            self._end(item, fault, min_priority=INTERACTIVE, waited_s=waited_s)
        if item.oldest_wait_s > settings.engine_down_s and for_s > settings.engine_down_s:
            self._end(item, fault, min_priority=BACKGROUND, waited_s=settings.engine_down_s)

    def _end(self, item: EngineBacklog, fault: Fault, *, min_priority: int, waited_s: float) -> None:
        for _ in range(GIVE_UP_CHUNKS):
            n = self._kit.stores.leases.give_up(
                item.engine_id,
                code=fault.code,
                error=fault.why,
                min_priority=min_priority,
                waited_s=waited_s,
                limit=GIVE_UP_CHUNK,
            )
            if n:
                self._kit.timers.due_now("advance", "backlog")
            if n < GIVE_UP_CHUNK:
                return


def _less(item: EngineBacklog, n: int) -> EngineBacklog:
    """After `n` assignments of average size were claimed; some are left, as far as is known."""
    left = max(1, item.n_waiting - n)
    tokens = item.est_tokens * left // item.n_waiting
    claimed = {
        "n_leased": item.n_leased + n,
        "leased_tokens": item.leased_tokens + item.est_tokens - tokens,
    }
    return item.model_copy(update={"n_waiting": left, "est_tokens": tokens, **claimed})
