"""Doubts about the database's clock, by which leases end: it may have been set."""

import logging
from typing import NamedTuple

from orchestrator.ports.clock import Clock
from orchestrator.ports.jobs import LeaseTimes

log = logging.getLogger(__name__)

FEW = 1
"""So many owners may always be dead at once."""

PART = 0.5
"""And this part of all: where more leases have ended, the clock is doubted rather than everybody."""

STEP = 1 / 3
"""Of a lease: as often as they are renewed. A smaller step ends none that is renewed."""


class _Ended(NamedTuple):
    """A lease that ended at `until` by the database's clock, seen first at `seen_at` by ours."""

    until: float
    seen_at: float


class Doubts:
    """Doubts of one sweeper, told by its own monotonic clock.

    Two things raise them. The database's clock went on by much more than ours since the last look (one that
    is set back ends no lease). Or the leases of more than `FEW` owners, and of more than `PART` of all, have
    ended at once: then an owner counts as dead when it has not renewed for `grace_s` of our own time since
    its lease was seen to end; who lives renews three times in that.
    """

    def __init__(self, clock: Clock, *, grace_s: float) -> None:
        self._clock = clock
        self._grace_s = grace_s
        self._seen_at: tuple[float, float] | None = None
        self._ended: dict[str, _Ended] = {}
        self._until = clock()

    def has_stepped(self, times: LeaseTimes) -> bool:
        """True if the database's clock was set forward since the last look."""
        now, before = self._clock(), self._seen_at
        self._seen_at = (now, times.now_s)
        if before is None:
            return False
        step_s = (times.now_s - before[1]) - (now - before[0])
        if step_s <= STEP * self._grace_s:
            return False
        log.warning(
            "the database's clock was set forward by %.0f s: no lease ends for %g s", step_s, self._grace_s
        )
        return True

    def spared(self, times: LeaseTimes) -> frozenset[str]:
        """Owners whose leases have ended by the database's clock and who may live all the same."""
        now, n = self._clock(), len(times.until_s)
        ended = {owner: until for owner, until in times.until_s.items() if until < times.now_s}
        self._ended = {owner: _Ended(until, self._since(owner, until)) for owner, until in ended.items()}
        waiting = frozenset(o for o, end in self._ended.items() if now - end.seen_at < self._grace_s)
        if waiting and len(ended) > max(FEW, PART * n):
            if now >= self._until:
                log.warning("the leases of %d of %d owners have ended at once: doubtful", len(ended), n)
            self._until = now + self._grace_s
        return waiting if now < self._until else frozenset()

    def _since(self, owner: str, until: float) -> float:
        """When this end of an owner's lease was seen first."""
        before = self._ended.get(owner)
        return before.seen_at if before is not None and before.until == until else self._clock()
