"""An engine's way through a device loop: work claimed for it, run in its seat, handed to the ledger."""

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence

from orchestrator.batching import estimated_tokens, shard_size
from orchestrator.domain.assignments import INTERACTIVE, Assignment, EngineBacklog
from orchestrator.domain.metrics import GROUP_SIZE
from orchestrator.errors import EngineCrashedError
from orchestrator.ports.telemetry import NO_METER, Meter
from workers.device.faults import Faults, Trouble
from workers.device.ledger import Ledger
from workers.device.pace import Pace
from workers.device.seat import Ending, Seat, failed_ending
from workers.device.strangers import Strangers

log = logging.getLogger(__name__)

Room = Callable[[Seat], int]
"""How many assignments an engine may be given now; 0 = it has enough."""

_HEAL: Mapping[str, str] = {
    "expert_misconfigured": "Correct api_base and api_key in the pool file, and start the worker anew.",
    "rate_limited": "Look at the limits of the account, or wait.",
}

Waiting = Callable[[str], EngineBacklog | None]
"""Work that waits for an engine, as far as is known."""


class Lane:
    """Serves one loaded engine until it dies or is left.

    What an engine died under before (attempts above the first) runs with nothing beside it. A call that
    failed by the fault of its engine is given back, and the engine left alone for a while; the first call
    after that is a single one.

    Args:
        room: see `Room`.
        faults: what is known of the engine's, and told of them.
        strangers: calls that others may know better.
        max_attempts: claims after which an assignment that is alone when its engine dies fails for good.

    Attributes:
        died: why the engine is gone; nothing can be claimed then.
        is_quiet: whether nothing runs beside this lane that a death could be blamed on.
    """

    def __init__(
        self,
        seat: Seat,
        *,
        ledger: Ledger,
        faults: Faults,
        strangers: Strangers,
        pace: Pace,
        room: Room,
        max_attempts: int,
        meter: Meter = NO_METER,
    ) -> None:
        self._meter = meter
        self.seat = seat
        self.died: EngineCrashedError | None = None
        self._ledger = ledger
        self._faults = faults
        self._strangers = strangers
        self._pace = pace
        self._room = room
        self._max_attempts = max_attempts
        self._held: list[Assignment] = []
        self._is_alone = False
        self.is_quiet: Callable[[], bool] = lambda: True

    @property
    def engine_id(self) -> str:
        """The engine that it serves."""
        return self.seat.engine_id

    @property
    def n_running(self) -> int:
        """Number of requests that run in the engine now; `n_held` counts those that wait for it too."""
        return self.seat.n_running

    @property
    def n_held(self) -> int:
        """Assignments under lease that have no ending yet."""
        return self.seat.n_running + len(self._held)

    @property
    def held_tokens(self) -> int:
        """Estimated tokens of these."""
        return sum(estimated_tokens(a.call) for a in [*self.seat.running, *self._held])

    @property
    def room(self) -> int:
        """Number of assignments that it may claim now."""
        return int(min(self._room(self.seat), self._most)) if self.is_open else 0

    @property
    def is_resting(self) -> bool:
        """True while a fault keeps the engine away."""
        return self._faults.of(self.engine_id) is not None or self._strangers.crowds(self.engine_id)

    @property
    def is_open(self) -> bool:
        """True if more may be claimed beside what runs."""
        return self.died is None and not self.is_alone and not self.is_resting and self._most > 0

    @property
    def is_alone(self) -> bool:
        """True while something runs here that nothing may run beside, or waits for that."""
        return bool(self._held) or (self._is_alone and self.seat.n_running > 0)

    @property
    def _most(self) -> float:
        """Of an engine that has not worked since its last fault, one request is known to be lost at most."""
        is_on_trial = self._faults.since_it_worked(self.engine_id) is not None
        return max(0, 1 - self.seat.n_running) if is_on_trial else math.inf

    def claim(self, limit: int) -> int:
        """Claim up to `limit` assignments and start them; returns how many there were."""
        limit += self._strangers.beside(self.engine_id)
        return self.take(self._ledger.claim(self.engine_id, limit=limit))

    @property
    def questions_room(self) -> int:
        """Number of interactive requests that it may begin now: they do not wait for a shard to end."""
        return int(min(max(1, self._pace.min_shard), self._most)) if self.is_open else 0

    def join(self) -> int:
        """Claim interactive requests only."""
        limit = self.questions_room
        if not limit:
            return 0
        return self.take(self._ledger.claim(self.engine_id, limit=limit, min_priority=INTERACTIVE))

    def start_held(self) -> bool:
        """Start what must run with nothing beside it, once nothing is; whether that happened."""
        if not self._held or self.died is not None or self.seat.n_running or not self.is_quiet():
            return False
        held, self._held = self._held, []
        self._is_alone = True
        self._start(held)
        return True

    def collect(self, timeout_s: float) -> list[Ending]:
        """Advance the engine; what ended is in the ledger."""
        if self.died is not None or not self.seat.n_running:
            return []
        try:
            endings = self.seat.poll(timeout_s)
        except EngineCrashedError as error:
            self._die(error)
            return []
        self._is_alone = self._is_alone and self.seat.n_running > 0
        if any(not ending.response.failed for ending in endings):
            self._faults.worked(self.engine_id)
        final = [ending for ending in endings if self._is_final(ending)]
        self._ledger.add(final)
        return final

    def stop_lost(self, held: Collection[int]) -> None:
        """Abort the requests of assignments that are not among these."""
        try:
            self.seat.stop_lost(held)
        except EngineCrashedError as error:
            self._die(error)

    def put_held_back(self) -> None:
        """Give back what waits to run alone, uncounted."""
        held, self._held = self._held, []
        self._ledger.give_back(held, refund_attempt=True)

    def put_back(self, *, below: int) -> int:
        """Give back all work of lower priority, uncounted; returns how many assignments. Args: below:
        priority."""
        running = [a for a in self.seat.running if a.priority < below]
        held = [a for a in self._held if a.priority < below]
        try:
            self.seat.drop(running)
        except EngineCrashedError as error:
            self._die(error)
            return 0
        self._held = [a for a in self._held if a.priority >= below]
        self._is_alone = self._is_alone and self.seat.n_running > 0
        self._ledger.give_back([*running, *held], refund_attempt=True)
        return len(running) + len(held)

    def finish(self, *, within_s: float) -> None:
        """Collect what the engine has finished: nothing else is asked of it any more."""
        if self.died is None and self.seat.n_running:
            self._ledger.add(self.seat.finish(within_s=within_s))

    def forget(self) -> None:
        """Drop what is held: its lease was given back."""
        self._held, self._is_alone = [], False

    def take(self, claimed: Sequence[Assignment]) -> int:
        """Start what is leased; returns how many assignments are known here."""
        left = [a for a in claimed if not self.seat.knows(a) and self._is_left(a)]
        assignments = [a for a in claimed if a not in left] if left else claimed
        self._ledger.give_back(left, refund_attempt=True)
        self._strangers.left(self.engine_id, len(left), of=len(claimed))
        if assignments:
            self._meter.observe(GROUP_SIZE, value=len(assignments))
        if any(assignment.attempt > 1 for assignment in assignments):
            self._held = list(assignments)
            self.start_held()
        else:
            self._start(assignments)
        return len(assignments)

    def _is_left(self, assignment: Assignment) -> bool:
        """True to leave a call to others; what this engine lacks, they must have."""
        lacks = self.seat.lacks(assignment)
        return (not lacks or self._strangers.has_others(self.engine_id)) and self._strangers.is_left(
            assignment
        )

    def _start(self, assignments: Sequence[Assignment]) -> None:
        ordered = sorted(assignments, key=_prefix)
        for ix, assignment in enumerate(ordered):
            try:
                refused = self.seat.submit(assignment)
            except EngineCrashedError as error:
                self._ledger.give_back(ordered[ix + 1 :], refund_attempt=True)
                self._die(error)
                return
            if refused is not None:
                self._ledger.add([refused])

    def _is_final(self, ending: Ending) -> bool:
        """Whether a call has ended for good; else it is given back. Its attempt counts if its prompt may be
        the cause, and ends it only where it surely is."""
        if not ending.response.failed or ending.blame == "prompt":
            return True
        assignment, response = ending.assignment, ending.response
        if self._faults.is_own_fault(self.engine_id, assignment.id, ending.blame, began_at=ending.began_at):
            if assignment.attempt >= self._max_attempts:
                return True
        elif not self.is_resting:
            code, why = response.error_code or "", response.error or ""
            is_lasting = ending.blame == "setup"
            self._faults.met(self.engine_id, Trouble(code, why, _HEAL.get(code), ending.rest_s, is_lasting))
        self._ledger.give_back([assignment], refund_attempt=ending.blame != "unclear")
        return False

    def _die(self, error: EngineCrashedError) -> None:
        """Its requests are claimed again in smaller shards; one that was alone may fail for good."""
        self.died = error
        lost = self.seat.running
        log.warning("engine %s: crashed under %d requests: %s", self.engine_id, len(lost), error)
        self._ledger.give_back(self._held, refund_attempt=True)
        self.forget()
        trouble = Trouble(error.code, str(error), error.remedy)
        if len(lost) == 1 and lost[0].attempt > 1:
            self._faults.crashed_alone(self.engine_id, trouble)
        else:
            self._faults.met(self.engine_id, trouble)
        if len(lost) == 1 and lost[0].attempt >= self._max_attempts:
            self._ledger.add([failed_ending(lost[0], error.code, str(error))])
        else:  # who died in company is not known to be the cause
            self._ledger.give_back(lost, refund_attempt=False)


def shard_room(seat: Seat, *, width: int | None, target_s: float, pace: Pace, waiting: Waiting) -> int:
    """A new shard when half of the last one is done: `target_s` of work, at least what the engine
    batches at once (`width`, where known); less towards the end of work that is shared."""
    low = max(pace.min_shard, width or 0)
    item = waiting(seat.engine_id)
    limit = shard_size(
        per_s=seat.served.per_s,
        target_s=target_s,
        low=low,
        high=max(low, pace.max_shard),
        n_waiting=item.n_waiting if item else None,
        n_devices=1 + item.n_devices_elsewhere if item else 1,
    )
    return limit if seat.n_running <= limit // 2 else 0


def slot_room(seat: Seat, *, width: int) -> int:
    """As many as may run at once, so that nothing waits here that somebody else could serve; claimed by
    quarters, not one by one.

    Args:
        width: number of requests that the engine takes at once, >= 1.
    """
    free = width - seat.n_running
    return free if free >= max(1, width // 4) else 0


def _prefix(assignment: Assignment) -> tuple[str, ...]:
    """Sorts prompts so that those with a long common beginning follow each other: an engine's prefix
    cache then finds it."""
    call = assignment.call
    return (call.expert_id, *(message.content for message in call.messages))
