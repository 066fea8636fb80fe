"""The loop that owns a device: claim work of the resident engine, or load the engine that pays most.

Independent of how it is started: a thread, a command, or a task that a bell wakes calls `tick` until
there is nothing to do. Whatever it holds is under lease, so it may die at any moment.
"""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.batching import EngineChoice, Rates, choose_engine, shard_size
from orchestrator.domain.assignments import INTERACTIVE, Assignment, EngineBacklog, JobState
from orchestrator.domain.experts import Pool
from orchestrator.errors import EngineCrashedError, MusterError
from orchestrator.ports import Backend, Clock, Completion, CompositionFactory
from orchestrator.settings import SchedulerSettings
from workers.advancing import Advancer
from workers.ledger import LeaseStore, Ledger
from workers.seat import OnTokens, Outcome, Seat, failed_outcome

log = logging.getLogger(__name__)

FAIL_CHUNK = 500
RUNNING_JOBS = 32


class Pace(NamedTuple):
    """How often the loop does what, in seconds; sizes in assignments.

    `look_s`: for what other processes put on the books; `renew_s`: leases, and whether work was
    cancelled; `cool_down_s`: until an engine that could not be loaded, or crashed `max_crashes` times
    in a row, is tried again.
    """

    poll_s: float = 0.05
    commit_s: float = 0.5
    commit_size: int = 64
    look_s: float = 1.0
    renew_s: float = 5.0
    sweep_s: float = 15.0
    min_shard: int = 16
    max_shard: int = 256
    request_timeout_s: float = 600.0
    cool_down_s: float = 60.0
    max_crashes: int = 5


DEFAULT_PACE = Pace()


class Fault(NamedTuple):
    """Why an engine is not loaded before `until`."""

    until: float
    code: str
    error: str


class DeviceLoop:
    """Serves one device for one owner; for one thread at a time.

    Args:
        backends: backend by name (`EngineSpec.backend`).
        device: name of the device, for the record of loads.
        owner: lease owner, unique among all loops.
        clock: monotonic seconds; leases run on database time, not on it.
        on_tokens: called with new text of unfinished responses.
    """

    def __init__(
        self,
        *,
        store: LeaseStore,
        backends: Callable[[str], Backend],
        pool: Pool,
        compositions: CompositionFactory,
        settings: SchedulerSettings,
        device: str,
        owner: str,
        clock: Clock,
        pace: Pace = DEFAULT_PACE,
        on_tokens: OnTokens | None = None,
    ) -> None:
        self.owner = owner
        self.n_generated = 0
        self._store = store
        self._backends = backends
        self._pool = pool
        self._settings = settings
        self._device = device
        self._clock = clock
        self._pace = pace
        self._on_tokens = on_tokens
        self._ledger = Ledger(
            store, owner=owner, clock=clock, commit_size=pace.commit_size, commit_s=pace.commit_s
        )
        self._advancer = Advancer(
            store=store,
            compositions=compositions,
            engine_of={expert.id: expert.engine.id for expert in pool.experts},
        )
        self._seat: Seat | None = None
        self._held: list[Assignment] = []
        self._alone = False
        self._load_s: dict[str, float] = {}
        self._tokens_per_s: dict[str, float] = {}
        self._faults: dict[str, Fault] = {}
        self._n_crashes = 0
        self._backlog: list[EngineBacklog] = []
        self._later: frozenset[str] = frozenset()
        self._contended = False
        self._doubtful = False
        self._due_at: dict[str, float] = {}

    @property
    def resident(self) -> str | None:
        return None if self._seat is None else self._seat.engine_id

    @property
    def is_idle(self) -> bool:
        """Whether it holds no lease and owes the store nothing."""
        return self._n_held == 0 and not self._ledger.is_due

    @property
    def rates(self) -> Rates:
        """What loads and work were measured to cost so far."""
        return Rates(self._load_s, self._tokens_per_s)

    def wake(self) -> None:
        """Look at the books at the next tick, whenever that was done last."""
        self._due_at.clear()

    def tick(self) -> bool:
        """One round: routes what is ready, feeds the engine, collects and commits responses.

        Returns:
            Whether there is more to do at once; False = wait for a wake-up or `Pace.look_s`.

        Raises:
            StoreUnavailableError: nothing is lost; tick again later.
        """
        try:
            self._keep_leases()
            moved = self._advance()
            fed = self._feed()
            moved |= self._collect()
        except MusterError:
            self._doubtful = True
            raise
        return moved or fed or self._n_held > 0 or "advance" not in self._due_at

    def shut_down(self) -> None:
        """Commit what is finished, give back the rest with its attempt refunded, free the device."""
        try:
            self._ledger.settle()
            self._store.release_owner(self.owner, refund_attempt=True)
        except MusterError:
            log.warning("owner %s: leases are left to expire", self.owner, exc_info=True)
        finally:
            self._ledger.forget()
            self._held, self._alone = [], False
            self._leave_seat()

    # ── leases ────────────────────────────────────────────────────────────────────────────────────

    @property
    def _n_held(self) -> int:
        """Assignments under this loop's lease."""
        return (self._seat.n_running if self._seat else 0) + len(self._held) + self._ledger.n_pending

    def _keep_leases(self) -> None:
        if self._n_held and self._is_due("renew", min(self._pace.renew_s, self._settings.lease_s / 3)):
            if self._store.renew(self.owner, lease_s=self._settings.lease_s) < self._n_held:
                self._stop_cancelled()
        elif self._doubtful and not self._n_held:
            # A claim may have been committed although its reply was lost.
            self._store.release_owner(self.owner, refund_attempt=True)
            self._doubtful = False
        if self._is_due("sweep", self._pace.sweep_s):
            self._store.sweep(max_attempts=self._settings.max_attempts)

    def _stop_cancelled(self) -> None:
        if self._seat is None:
            return
        job_ids = {assignment.job_id for assignment in self._seat.running}
        ended = {job_id for job_id in job_ids if self._store.job(job_id).state is not JobState.RUNNING}
        try:
            self._seat.stop_jobs(ended)
        except EngineCrashedError as error:
            self._crash(error)

    # ── queries ───────────────────────────────────────────────────────────────────────────────────

    def _advance(self) -> bool:
        if not self._is_due("advance", self._pace.look_s):
            return False
        advanced = self._advancer.run(between=self._keep_leases)
        if advanced.n_asked:
            self._due_now("backlog", "jobs")
        return advanced.n_steps > 0

    def _collect(self) -> bool:
        outcomes: list[Outcome] = []
        if self._seat is not None and self._seat.n_running:
            try:
                outcomes = self._seat.poll(self._pace.poll_s)
            except EngineCrashedError as error:
                self._crash(error)
        n_generated = sum(not outcome.response.failed for outcome in outcomes)
        self.n_generated += n_generated
        if n_generated:
            self._n_crashes = 0
        self._ledger.add(outcomes)
        idle = self._seat is None or not self._seat.n_running
        return self._commit() if idle or self._ledger.is_due else False

    def _commit(self) -> bool:
        committed = self._ledger.settle() > 0
        if committed:
            self._due_now("advance")
        return committed

    # ── work ──────────────────────────────────────────────────────────────────────────────────────

    def _feed(self) -> bool:
        """Keep the engine supplied, or change engines; whether anything was handed to an engine."""
        if self._held:
            return self._start_held()
        running = self._seat.n_running if self._seat else 0
        if self._alone and running:
            return False
        self._alone = False
        limit = self._shard_size()
        if running > limit // 2:
            return self._join()
        choice = self._choose()
        if choice is None:
            return False
        if choice.engine_id != self.resident:
            if running:
                return self._join()  # the seat is given up when it has drained
            if not self._change_seat(choice):
                return True
        return self._claim(choice.engine_id, limit=limit)

    def _join(self) -> bool:
        """Interactive requests for the resident engine do not wait for a shard to end."""
        if self._seat is None or not self._is_due("join", self._pace.poll_s):
            return False
        return self._claim(self._seat.engine_id, limit=self._pace.min_shard, min_priority=INTERACTIVE)

    def _claim(self, engine_id: str, *, limit: int, min_priority: int = 0) -> bool:
        claim = self._store.claim(
            engine_id,
            owner=self.owner,
            limit=limit,
            lease_s=self._settings.lease_s,
            min_priority=min_priority,
        )
        if not min_priority:
            self._due_now("backlog")
        if any(assignment.attempt > 1 for assignment in claim.assignments):
            self._held = list(claim.assignments)
            return self._start_held()
        self._start(claim.assignments)
        return bool(claim.assignments)

    def _start_held(self) -> bool:
        """What an engine died under runs with nothing beside it."""
        if self._seat is None or self._seat.n_running:
            return False
        self._alone = True
        held, self._held = self._held, []
        self._start(held)
        return True

    def _start(self, assignments: Sequence[Assignment]) -> None:
        assert self._seat is not None
        for ix, assignment in enumerate(assignments):
            try:
                refused = self._seat.submit(assignment)
            except EngineCrashedError as error:
                self._ledger.give_back(assignments[ix + 1 :], refund_attempt=True)
                self._crash(error)
                return
            if refused is not None:
                self._ledger.add([refused])

    def _choose(self) -> EngineChoice | None:
        self._look()
        resident_s = self._clock() - self._seat.taken_at if self._seat else 0.0
        return choose_engine(
            self._backlog,
            resident=self.resident,
            later=self._later,
            max_wait_s=self._settings.max_wait_s if self._contended else float("inf"),
            resident_s=resident_s,
            rates=self.rates,
        )

    def _look(self) -> None:
        """Refresh what is known of the books; engines that cannot be served fail their work."""
        if self._is_due("jobs", self._pace.look_s):
            jobs = [p.job for p in self._store.jobs(limit=RUNNING_JOBS) if p.state is JobState.RUNNING]
            self._later = self._advancer.later_engines(jobs)
            # One job alone cannot starve itself: for it, fewest loads is best.
            self._contended = len(jobs) > 1
        if not self._is_due("backlog", self._pace.look_s):
            return
        self._backlog = []
        for item in self._store.backlog(owner=self.owner):
            fault = self._fault(item.engine_id)
            if fault is None:
                self._backlog.append(item)
            else:
                self._fail_waiting(item.engine_id, fault)

    # ── engines ───────────────────────────────────────────────────────────────────────────────────

    def _change_seat(self, choice: EngineChoice) -> bool:
        """Load an engine; on failure its waiting work fails once, and it is left alone for a while."""
        self._commit()
        self._leave_seat()
        spec = self._pool.engines[choice.engine_id]
        experts = {e.id: e for e in self._pool.experts if e.engine.id == spec.id}
        adapters = list(dict.fromkeys(e.adapter for e in experts.values() if e.adapter is not None))
        log.info("engine %s: loading on %s: %s", spec.id, self._device, choice.reason)
        started = self._clock()
        try:
            engine = self._backends(spec.backend).load(spec, adapters)
        except Exception as error:  # whatever a loader raises, the other engines must be served
            log.warning("engine %s: load failed: %s", spec.id, error, exc_info=True)
            self._set_fault(spec.id, "engine_load_failed", str(error) or type(error).__name__)
            return False
        self._load_s[spec.id] = self._clock() - started
        self._seat = Seat(
            spec.id,
            engine,
            experts=experts,
            clock=self._clock,
            request_timeout_s=self._pace.request_timeout_s,
            hang_timeout_s=self._settings.hang_timeout_s,
            on_tokens=self._on_tokens,
        )
        self._store.record_load(
            engine_id=spec.id, device=self._device, owner=self.owner, seconds=self._load_s[spec.id]
        )
        return True

    def _leave_seat(self) -> None:
        if self._seat is None:
            return
        if self._seat.tokens_per_s is not None:
            self._tokens_per_s[self._seat.engine_id] = self._seat.tokens_per_s
        self._seat.close()
        self._seat = None

    def _crash(self, error: EngineCrashedError) -> None:
        """Close the engine; its requests are claimed again in smaller shards, or fail for good."""
        assert self._seat is not None
        log.warning("engine %s: crashed under %d requests: %s", self.resident, self._seat.n_running, error)
        engine_id, lost = self._seat.engine_id, self._seat.running
        self._leave_seat()
        self._ledger.give_back(self._held, refund_attempt=True)
        self._held, self._alone = [], False
        last = [a for a in lost if a.attempt >= self._settings.max_attempts]
        self._ledger.add(failed_outcome(a, error.code, str(error)) for a in last)
        again = [a for a in lost if a.attempt < self._settings.max_attempts]
        self._ledger.give_back(again, refund_attempt=False)
        self._n_crashes += 1
        if self._n_crashes >= self._pace.max_crashes:
            self._set_fault(engine_id, error.code, f"{error} It crashed {self._n_crashes} times in a row.")
        self._due_now("backlog")

    def _fault(self, engine_id: str) -> Fault | None:
        now = self._clock()
        if engine_id not in self._pool.engines:
            return Fault(now, "expert_unavailable", f"engine '{engine_id}' is not in the pool.")
        fault = self._faults.get(engine_id)
        return fault if fault is not None and fault.until > now else None

    def _set_fault(self, engine_id: str, code: str, error: str) -> None:
        self._faults[engine_id] = Fault(self._clock() + self._pace.cool_down_s, code, error)
        self._n_crashes = 0
        self._due_now("backlog")

    def _fail_waiting(self, engine_id: str, fault: Fault) -> None:
        lease_s = self._settings.lease_s
        while True:
            claim = self._store.claim(engine_id, owner=self.owner, limit=FAIL_CHUNK, lease_s=lease_s)
            if not claim.assignments:
                break
            failed = [failed_outcome(a, fault.code, fault.error) for a in claim.assignments]
            self._store.complete(
                self.owner, [Completion(o.assignment.id, o.assignment.attempt, o.response) for o in failed]
            )
            self._due_now("advance")

    def _shard_size(self) -> int:
        """What the engine batches at once (`max_num_seqs`), or what it does in `shard_s`."""
        pace = self._pace
        seat = self._seat
        if seat is None:
            return pace.min_shard
        width = self._pool.engines[seat.engine_id].options.get("max_num_seqs")
        low = max(pace.min_shard, width) if isinstance(width, int) else pace.min_shard
        return shard_size(
            per_s=seat.per_s, target_s=self._settings.shard_s, low=low, high=max(low, pace.max_shard)
        )

    # ── timing ────────────────────────────────────────────────────────────────────────────────────

    def _is_due(self, what: str, every_s: float) -> bool:
        now = self._clock()
        if now < self._due_at.get(what, now):
            return False
        self._due_at[what] = now + every_s
        return True

    def _due_now(self, *what: str) -> None:
        for name in what:
            self._due_at.pop(name, None)
