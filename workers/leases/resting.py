"""Jobs that this process leaves alone for a while, and how long it is patient with what fails."""

from collections.abc import Callable
from typing import NamedTuple

from orchestrator.domain.assignments import INTERACTIVE, Job
from orchestrator.ports.clock import Clock
from orchestrator.settings.schema import SchedulerSettings

LEAST_REST_S = 2.0


class Patience(NamedTuple):
    """Times in seconds.

    Attributes:
        max_attempts: failures after which a step fails for good.
        first_pause_s: before it is tried again, four times as long after each further failure;
            `longest_pause_s` at most.
        down_s: that a batch waits for what is not the fault of its queries, `down_interactive_s` a question.
    """

    max_attempts: int = 3
    first_pause_s: float = 2.0
    longest_pause_s: float = 30.0
    down_s: float = 3600.0
    down_interactive_s: float = 10.0

    def pause_s(self, n: int) -> float:
        """Pause after the n-th failure, from 1."""
        return min(self.longest_pause_s, self.first_pause_s * 4.0 ** min(n - 1, 16))

    def limit_s(self, job: Job) -> float:
        """Longest wait of a job for what is not the fault of its queries."""
        return self.down_interactive_s if job.priority >= INTERACTIVE else self.down_s


def patience_of(settings: SchedulerSettings) -> Patience:
    """The patience that the settings ask for; pauses are not theirs to say."""
    return Patience(
        max_attempts=settings.max_attempts,
        down_s=settings.engine_down_s,
        down_interactive_s=settings.engine_down_interactive_s,
    )


class _Rest(NamedTuple):
    since: float
    until: float
    n: int


class Resting:
    """Jobs that this process cannot step now: it does not know their composition, or lacks what they need.
    Others may, so it does not even take their queries before it tries again."""

    def __init__(self, patience: Patience, clock: Clock) -> None:
        self._patience = patience
        self._clock = clock
        self._rests: dict[str, _Rest] = {}

    def __call__(self) -> frozenset[str]:
        """Ids of jobs to leave alone now."""
        now = self._clock()
        return frozenset(job_id for job_id, rest in self._rests.items() if rest.until > now)

    def bears(self, job: Job, *, attempts: int | None = None) -> bool:
        """A job cannot be stepped: whether to wait on. False = for longer than allowed, or for the last of so
        many attempts.
        """
        now, last = self._clock(), self._rests.get(job.id)
        n = 1 if last is None else last.n + 1
        since = now if last is None else last.since
        self._rests[job.id] = _Rest(since, now + max(LEAST_REST_S, self._patience.pause_s(n)), n)
        return now - since <= self._patience.limit_s(job) and (attempts is None or n < attempts)

    def over(self, job_id: str) -> None:
        """It was stepped."""
        self._rests.pop(job_id, None)

    def forget(self, is_over: Callable[[str], bool]) -> None:
        """Drop jobs that have ended."""
        for job_id in [job_id for job_id in self._rests if is_over(job_id)]:
            del self._rests[job_id]
