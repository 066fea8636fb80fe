"""An engine's way through a device loop: work claimed for it, run in its seat, handed to the ledger."""

import logging
from collections.abc import Callable, Collection, Sequence

from orchestrator.batching import estimated_tokens, shard_size
from orchestrator.domain.assignments import INTERACTIVE, Assignment, EngineBacklog
from orchestrator.errors import EngineCrashedError
from workers.device.ledger import Ledger
from workers.device.pace import Pace
from workers.device.seat import Ending, Seat, failed_ending

log = logging.getLogger(__name__)

Room = Callable[[Seat], int]
"""How many assignments an engine may be given now; 0 = it has enough."""

Waiting = Callable[[str], EngineBacklog | None]
"""Work that waits for an engine, as far as is known."""


class Lane:
    """Serves one loaded engine until it dies or is left.

    What an engine died under before (attempts above the first) runs with nothing beside it.

    Args:
        room: see `Room`.
        max_attempts: claims after which an assignment that is alone when its engine dies fails for good.

    Attributes:
        died: why the engine is gone; nothing can be claimed then.
    """

    def __init__(self, seat: Seat, *, ledger: Ledger, pace: Pace, room: Room, max_attempts: int) -> None:
        self.seat = seat
        self.died: EngineCrashedError | None = None
        self._ledger = ledger
        self._pace = pace
        self._room = room
        self._max_attempts = max_attempts
        self._held: list[Assignment] = []
        self._is_alone = False

    @property
    def engine_id(self) -> str:
        return self.seat.engine_id

    @property
    def n_running(self) -> int:
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
        return self._room(self.seat) if self._is_open else 0

    @property
    def _is_open(self) -> bool:
        return self.died is None and not self._held and not (self._is_alone and self.seat.n_running)

    def claim(self, limit: int) -> int:
        """Claim up to `limit` assignments and start them; returns how many there were."""
        return self._take(self._ledger.claim(self.engine_id, limit=limit))

    def join(self) -> int:
        """Claim interactive requests only: they do not wait for a shard to end."""
        if not self._is_open:
            return 0
        limit = max(1, self._pace.min_shard)
        return self._take(self._ledger.claim(self.engine_id, limit=limit, min_priority=INTERACTIVE))

    def start_held(self) -> bool:
        """Start what must run with nothing beside it, once nothing is; whether that happened."""
        if not self._held or self.died is not None or self.seat.n_running:
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
        self._ledger.add(endings)
        return endings

    def stop_lost(self, held: Collection[int]) -> None:
        """Abort the requests of assignments that are not among these."""
        try:
            self.seat.stop_lost(held)
        except EngineCrashedError as error:
            self._die(error)

    def forget(self) -> None:
        """Drop what is held: its lease was given back."""
        self._held, self._is_alone = [], False

    def _take(self, assignments: Sequence[Assignment]) -> int:
        if any(assignment.attempt > 1 for assignment in assignments):
            self._held = list(assignments)
            self.start_held()
        else:
            self._start(assignments)
        return len(assignments)

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

    def _die(self, error: EngineCrashedError) -> None:
        """Its requests are claimed again in smaller shards, or fail for good."""
        self.died = error
        lost = self.seat.running
        log.warning("engine %s: crashed under %d requests: %s", self.engine_id, len(lost), error)
        self._ledger.give_back(self._held, refund_attempt=True)
        self.forget()
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
    quarters, not one by one."""
    free = width - seat.n_running
    return free if free >= max(1, width // 4) else 0


def _prefix(assignment: Assignment) -> tuple[str, ...]:
    """Sorts prompts so that those with a long common beginning follow each other: an engine's prefix
    cache then finds it."""
    call = assignment.call
    return (call.expert_id, *(message.content for message in call.messages))
