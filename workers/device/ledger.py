"""A loop's leases: work claimed, finished responses to commit, leases to give back."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from orchestrator.domain.assignments import BACKGROUND, INTERACTIVE, Assignment, CallRole
from orchestrator.domain.metrics import STAGE_SECONDS, Stage
from orchestrator.errors import StoreError, StoreUnavailableError
from orchestrator.ports.clock import Clock
from orchestrator.ports.jobs import Completion, LeaseStore
from orchestrator.ports.telemetry import NO_METER, Meter
from orchestrator.runtime.garbage import no_cycle_collection
from workers.device.call_traces import CallTraces, EndedCall
from workers.device.pace import Pace
from workers.device.seat import Ending, failed_ending

log = logging.getLogger(__name__)


_STAGES = {CallRole.ANNOTATE: Stage.ANNOTATE, CallRole.EXPERT: Stage.EXPERTS}
"""Stages that calls belong to; all others are an aggregator's."""


class Ledger:
    """Writes are kept until the store has taken them, so an unreachable store loses nothing.

    Attributes:
        n_committed: responses written so far (late ones count too); `n_urgent` of them to interactive
            requests, `n_carried` with the step that they were waited for with.
        carries: stores responses with the steps of questions; returns how many of them still wait for one.
    """

    def __init__(
        self,
        leases: LeaseStore,
        *,
        owner: str,
        lease_s: float,
        clock: Clock,
        pace: Pace,
        meter: Meter = NO_METER,
        traces: CallTraces | None = None,
    ) -> None:
        self._traces = traces
        self._calls: list[EndedCall] = []
        self.n_committed = self.n_urgent = self.n_carried = 0
        self.carries: Callable[[Sequence[Completion]], int] | None = None
        self._meter = meter
        self._leases = leases
        self._owner = owner
        self._lease_s = lease_s
        self._clock = clock
        self._pace = pace
        self._endings: list[Ending] = []
        self._returns: list[tuple[list[int], bool]] = []
        self._notes: list[Callable[[], None]] = []
        self._oldest_at = 0.0
        self.min_priority = BACKGROUND
        """Work of lower priority is left to others."""

    @property
    def n_pending(self) -> int:
        """Number of responses that are not written yet."""
        return len(self._endings)

    @property
    def is_due(self) -> bool:
        """True to commit now: enough, old enough, or somebody waits for it."""
        return (
            bool(self._returns or self._notes)
            or len(self._endings) >= self._pace.commit_size
            or (
                bool(self._endings)
                and (self._clock() - self._oldest_at >= self._pace.commit_s or self._n_pending_urgent > 0)
            )
        )

    @no_cycle_collection()
    def claim(self, engine_id: str, *, limit: int, min_priority: int = BACKGROUND) -> tuple[Assignment, ...]:
        """Lease waiting work of an engine: of one priority and one attempt."""
        claim = self._leases.claim(
            engine_id,
            owner=self._owner,
            limit=limit,
            lease_s=self._lease_s,
            min_priority=max(min_priority, self.min_priority),
        )
        return claim.assignments

    def add(self, endings: Iterable[Ending]) -> None:
        """Note responses that are to be written, for `settle`."""
        if not self._endings:
            self._oldest_at = self._clock()
        if self._traces is None:
            self._endings += endings
            return
        for ending in endings:
            self._endings.append(ending)
            self._calls.append(EndedCall(ending.assignment, ending.response, time.time()))

    def give_back(self, assignments: Iterable[Assignment], *, refund_attempt: bool) -> None:
        """Note leases that are to end without a response, for `settle`.

        Args:
            refund_attempt: they were not tried: the claim does not count towards their attempts.
        """
        ids = [assignment.id for assignment in assignments]
        if ids:
            self._returns.append((ids, refund_attempt))

    def note(self, write: Callable[[], None]) -> None:
        """Something else to write with the rest, such as a load that took place."""
        self._notes.append(write)

    @no_cycle_collection()
    def settle(self) -> int:
        """Write everything owed; returns how many responses that were."""
        while self._notes:
            self._write(self._notes[0])
            del self._notes[0]
        while self._returns:
            ids, refund = self._returns[0]
            self._leases.release(self._owner, ids, refund_attempt=refund)
            del self._returns[0]
        n = len(self._endings)
        if n:
            self._complete(self._endings)
            self._tell(self._endings)
            self.n_committed += n
            self.n_urgent += self._n_pending_urgent
            self._endings = []
        return n

    def forget(self) -> None:
        """Drop what is owed: its leases are gone."""
        self._endings, self._returns, self._notes, self._calls = [], [], [], []

    @property
    def _n_pending_urgent(self) -> int:
        return sum(ending.assignment.priority >= INTERACTIVE for ending in self._endings)

    def _tell(self, endings: Sequence[Ending]) -> None:
        for _, response, *_ in endings:
            stage = _STAGES.get(response.role, Stage.AGGREGATE)
            self._meter.observe(STAGE_SECONDS, stage, value=response.latency_ms / 1000)
        if self._traces is not None:
            calls, self._calls = self._calls, []
            self._traces.tell(calls)

    def _write(self, note: Callable[[], None]) -> None:
        try:
            note()
        except StoreUnavailableError:
            raise
        except StoreError:  # what cannot be recorded must not hold up the work
            log.warning("owner %s: a note was refused", self._owner, exc_info=True)

    def _complete(self, endings: Sequence[Ending]) -> None:
        try:
            self._store([_completion(ending) for ending in endings])
        except StoreUnavailableError:
            raise
        except StoreError as error:
            if len(endings) > 1:  # one bad response must not hold up its neighbours
                for ending in endings:
                    self._complete([ending])
                return
            assignment = endings[0].assignment
            log.warning("assignment %s: response refused: %s", assignment.id, error)
            failed = failed_ending(assignment, error.code, "The response could not be stored.")
            self._leases.complete(self._owner, [_completion(failed)])

    def _store(self, completions: Sequence[Completion]) -> None:
        if self.carries is None or self._n_pending_urgent == 0:
            self._leases.complete(self._owner, completions)
        else:
            self.n_carried += len(completions) - self.carries(completions)


def _completion(ending: Ending) -> Completion:
    return Completion(ending.assignment.id, ending.assignment.attempt, ending.response)
