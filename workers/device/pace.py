"""Pace of the device loop: how often it does what, and how much at once."""

from typing import NamedTuple

from orchestrator.ports.clock import Clock


class Pace(NamedTuple):
    """Times in seconds; sizes in assignments.

    `look_s`: for what other processes put on the books; `renew_s`: leases, and whether work was
    cancelled; `report_s`: what this device holds, for the others; `stuck_s`: a tick that takes longer
    loses its leases; `record_s`: measured rates; `ring_s`: between two bells for committed responses;
    `first_pause_s`: for which an engine that met a fault is left alone, twice as long after each further one,
    `cool_down_s` at most; `step_pause_s`: before a failed step is tried again; `idle_remote_s`: until a
    remote engine without work is closed.
    """

    poll_s: float = 0.05
    commit_s: float = 0.5
    commit_size: int = 512
    look_s: float = 1.0
    renew_s: float = 5.0
    report_s: float = 5.0
    stuck_s: float = 60.0
    record_s: float = 30.0
    ring_s: float = 0.25
    min_shard: int = 16
    max_shard: int = 256
    request_timeout_s: float = 600.0
    first_pause_s: float = 1.0
    step_pause_s: float = 2.0
    cool_down_s: float = 60.0
    idle_remote_s: float = 60.0

    def pause_s(self, n: int) -> float:
        """Pause after the n-th fault in a row, from 1."""
        return min(self.cool_down_s, self.first_pause_s * 2.0 ** min(n - 1, 32))

    def renewal_s(self, lease_s: float) -> float:
        """Leases are renewed so often that two renewals may fail."""
        return min(self.renew_s, lease_s / 3)


DEFAULT_PACE = Pace()


class Timers:
    """Remembers when each recurring chore is due; one never done before is due at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due_at: dict[str, float] = {}

    def is_due(self, what: str, every_s: float) -> bool:
        """True to do it now; if so, the next time is in `every_s`."""
        now = self._clock()
        if now < self._due_at.get(what, now):
            return False
        self._due_at[what] = now + every_s
        return True

    def due_now(self, *what: str) -> None:
        """Make chores due at once."""
        for name in what:
            self._due_at.pop(name, None)

    def is_pending(self, what: str) -> bool:
        """True if it was made due and not done since."""
        return what not in self._due_at
