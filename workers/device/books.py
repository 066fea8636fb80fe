"""A loop's view of the work on the books, and what it makes of it: the next engine to serve."""

import math
from collections.abc import Container, Iterable, Set

from orchestrator.batching import EngineChoice, Rates, choose_engine
from orchestrator.domain.assignments import INTERACTIVE, EngineBacklog, JobState
from orchestrator.domain.devices import LIVE_S, REMOTE, DeviceReport
from orchestrator.ports.composing import LaterEngines
from workers.device.faults import Fault
from workers.device.kit import Kit
from workers.device.seat import failed_ending
from workers.leases.owners import berth_of, loop_of

FAIL_CHUNK = 500
RUNNING_JOBS = 32
HOLD_SHARDS = 2
"""A change of engines waits for routing as long as its load, or so many shards, would take."""


class Books:
    """Waiting work by engine, refreshed every `Pace.look_s` and when `Timers` say so.

    Work of engines that cannot be served fails with the reason.

    Args:
        engines: those of the pool; `remote`: those of them that need no device.
        later_engines: engines that later stages of a job may need.

    Attributes:
        n_devices: live devices, this one included.
    """

    def __init__(self, kit: Kit, *, engines: Set[str], remote: Set[str], later_engines: LaterEngines) -> None:
        self._kit = kit
        self._engines = engines
        self._remote = remote
        self._later_engines = later_engines
        self._waiting: dict[str, EngineBacklog] = {}
        self._later: frozenset[str] = frozenset()
        self._n_jobs = 0
        self._is_routing = False
        self._held_at: float | None = None
        self.n_devices = 1
        self._others: frozenset[str] = frozenset()

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
            waiting = [
                item
                for item in self._kit.stores.waiting.backlog(owner=self._kit.owner)
                if item.n_waiting and item.top_priority >= self._kit.ledger.min_priority
            ]
            self._waiting = {item.engine_id: item for item in waiting if self._is_served(item)}
            self._is_routing = self._kit.stores.waiting.is_routing()

    def waiting(self, engine_id: str) -> EngineBacklog | None:
        """Work that waits for an engine; None = there is none."""
        return self._waiting.get(engine_id)

    def claimed(self, engine_id: str, n: int, *, limit: int) -> None:
        """So many of an engine's assignments were claimed; with less than the limit, look again."""
        if n < limit:
            self._kit.timers.due_now("backlog")
        elif item := self._waiting.get(engine_id):
            self._waiting[engine_id] = _less(item, n)

    @property
    def remote_work(self) -> list[EngineBacklog]:
        """Work of engines that need no device."""
        return [item for item in self._waiting.values() if item.engine_id in self._remote]

    def choose(
        self, *, resident: str | None, resident_s: float, taken: Container[str], rates: Rates
    ) -> EngineChoice | None:
        """The engine that a place of this device serves next.

        Args:
            resident: the engine there now, for `resident_s` seconds.
            taken: engines that the device holds in other places.
        """
        return choose_engine(
            [
                item
                for item in self._waiting.values()
                if item.engine_id not in self._remote and item.engine_id not in taken
            ],
            resident=resident,
            later=self._later,
            max_wait_s=self.max_wait_s,
            resident_s=resident_s,
            rates=rates,
            n_devices=self.n_devices,
            n_engines=len(self._engines - self._remote),
        )

    def prefer(self, ahead: str | None, choice: EngineChoice) -> EngineChoice:
        """The engine loaded ahead instead of one that merely has more work by now."""
        mine = self._waiting.get(ahead or "")
        best = self._waiting.get(choice.engine_id)
        if mine is None or best is None or mine.n_devices_elsewhere:
            return choice
        is_urgent = best.top_priority >= INTERACTIVE or best.starved_s > self.max_wait_s
        if is_urgent or (mine.engine_id in self._later and best.engine_id not in self._later):
            return choice
        return EngineChoice(mine.engine_id, f"is loaded ahead ({mine.n_waiting} assignments)")

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

    def load_failed(self, engine_id: str, error: Exception, *, device: str) -> None:
        """An engine does not load here: it is left alone for a while, and the others are told."""
        self._kit.faults.load_failed(engine_id, error, is_alone=not self._others)
        owner = berth_of(self._kit.owner, f"failed {engine_id}")
        report = DeviceReport(owner=owner, device=device, engine_id=engine_id, state="down")
        self._kit.ledger.note(lambda: self._kit.stores.devices.report_device(report))
        self._kit.timers.due_now("backlog")

    @property
    def max_wait_s(self) -> float:
        """One batch job alone cannot starve itself: for it, fewest loads is best."""
        return self._kit.settings.max_wait_s if self._n_jobs > 1 or self._has_urgent else math.inf

    @property
    def _has_urgent(self) -> bool:
        return any(item.top_priority >= INTERACTIVE for item in self._waiting.values())

    def _count(self, devices: Iterable[DeviceReport]) -> None:
        others = [report for report in devices if loop_of(report.owner) != self._kit.owner]
        self._others = frozenset(loop_of(report.owner) for report in others)
        self.n_devices = 1 + len({loop_of(report.owner) for report in others if report.device != REMOTE})

    def _is_served(self, item: EngineBacklog) -> bool:
        fault = self._fault(item.engine_id)
        if fault is not None and not item.n_devices_elsewhere and self._is_final(item.engine_id, fault):
            self._fail(item.engine_id, fault)
        return fault is None

    def _is_final(self, engine_id: str, fault: Fault) -> bool:
        """Whether no live device is left that might load an engine."""
        if fault.is_final:
            return True
        failed = self._kit.stores.devices.faults(self._kit.pace.cool_down_s)
        return self._others <= {loop_of(report.owner) for report in failed if report.engine_id == engine_id}

    def _fault(self, engine_id: str) -> Fault | None:
        if engine_id not in self._engines:
            error = f"engine '{engine_id}' is not in the pool."
            return Fault(math.inf, "expert_unavailable", error, is_final=True)
        return self._kit.faults.of(engine_id)

    def _fail(self, engine_id: str, fault: Fault) -> None:
        while assignments := self._kit.ledger.claim(engine_id, limit=FAIL_CHUNK):
            self._kit.ledger.add(failed_ending(a, fault.code, fault.error) for a in assignments)
            self._kit.ledger.settle()


def _less(item: EngineBacklog, n: int) -> EngineBacklog:
    """After `n` assignments of average size were claimed; some are left, as far as is known."""
    left = max(1, item.n_waiting - n)
    tokens = item.est_tokens * left // item.n_waiting
    claimed = {
        "n_leased": item.n_leased + n,
        "leased_tokens": item.leased_tokens + item.est_tokens - tokens,
    }
    return item.model_copy(update={"n_waiting": left, "est_tokens": tokens, **claimed})
