"""The stack's dispatcher: rings for the workers and watches; this process does none of the work."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from orchestrator.batching import Rates, plan
from orchestrator.domain.assignments import JobProgress, LoadPlan
from orchestrator.domain.devices import LIVE_S
from orchestrator.errors import StoreUnavailableError
from orchestrator.ports.clock import Clock
from orchestrator.ports.dispatch import Piece
from orchestrator.ports.jobs import JobReader, WorkReader
from workers.pieces import Watch, follow
from workers.stack.bells import ADVANCE, Ringer
from workers.stack.news import News

log = logging.getLogger(__name__)

PROGRESS_S = 0.5
LOOK_S = 1.0
"""With news: how long a lost one may delay an answer."""
POLL_S, SLOW_POLL_S = 0.05, 0.25
"""Without news: at first, and for who has waited longer than `PATIENT_S`."""
PATIENT_S = 30.0
LOOKS_PER_S = 200
"""Most looks at the database that all waiters of a process take together."""
STORE_BACKOFF_S = 0.5

OnProgress = Callable[[JobProgress], None]


class StackDispatcher:
    """Implements `ports.Dispatcher` where workers are other processes. For any number of threads."""

    def __init__(
        self,
        *,
        jobs: JobReader,
        work: WorkReader,
        bells: Ringer,
        news: News,
        clock: Clock = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._work = work
        self._bells = bells
        self._news = news
        self._clock = clock
        self._n_waiting = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        self._news.start()

    def stop(self) -> None:
        self._bells.close()
        self._news.stop()

    def notify(self) -> None:
        self._bells.ring(ADVANCE)

    def run(self, job_id: str, *, on_progress: OnProgress | None = None) -> JobProgress:
        """Watch until the job ends. Interrupting it changes nothing: the workers go on.

        Raises:
            NotFoundError: no such job.
        """
        self._jobs.job(job_id)
        self.notify()
        return self._watch(job_id, until=math.inf, on_progress=on_progress)

    def wait(self, job_id: str, *, timeout_s: float) -> JobProgress:
        """Raises StoreUnavailableError when the database is still away at the end of the time."""
        return self._watch(job_id, until=self._clock() + timeout_s, on_progress=None)

    @contextmanager
    def listen(self, job_id: str, *, timeout_s: float) -> Iterator[Iterator[Sequence[Piece]]]:
        with self._counted(), self._news.watch(job_id) as watch:
            yield self._follow(job_id, watch, until=self._clock() + timeout_s)

    def plan(self, *, later: frozenset[str]) -> LoadPlan:
        """By what the live devices report of themselves; rates are means over devices."""
        devices = self._work.devices(LIVE_S)
        backlog = self._work.backlog(owner="")
        waiting = {item.engine_id for item in backlog}
        rates = Rates.over_devices(self._work.rates()).extended({*later, *waiting})
        resident = devices[0].engine_id if len(devices) == 1 else None
        return plan(backlog, resident=resident, later=later, rates=rates, n_devices=max(1, len(devices)))

    def unload(self) -> None:
        """The devices are the workers' own; there is nothing here to free."""

    def _watch(self, job_id: str, *, until: float, on_progress: OnProgress | None) -> JobProgress:
        since = self._clock()
        with self._counted(), self._news.watch(job_id) as watch:
            while True:
                progress = self._look(job_id, until=until)
                if on_progress is not None:
                    on_progress(progress)
                now = self._clock()
                if progress.state.is_over or now >= until:
                    return progress
                pause_s = PROGRESS_S if on_progress is not None else self._pause_s(now - since)
                self._await(watch, min(pause_s, until - now))

    def _await(self, watch: Watch, pause_s: float) -> None:
        """Until the job moves; what is told of its answer is for others."""
        until = self._clock() + pause_s
        while not watch.wait(max(0.0, until - self._clock())).moved and self._clock() < until:
            pass

    def _follow(self, job_id: str, watch: Watch, *, until: float) -> Iterator[Sequence[Piece]]:
        since = self._clock()
        return follow(
            watch,
            has_ended=lambda: self._look(job_id, until=until).state.is_over,
            pause_s=lambda: self._pause_s(self._clock() - since),
            until=until,
            clock=self._clock,
        )

    def _look(self, job_id: str, *, until: float) -> JobProgress:
        while True:
            try:
                return self._jobs.job(job_id)
            except StoreUnavailableError as error:
                if self._clock() + STORE_BACKOFF_S >= until:
                    raise
                log.warning("job %s: the database is away: %s", job_id, error)
                time.sleep(STORE_BACKOFF_S)

    def _pause_s(self, waited_s: float) -> float:
        if self._news.is_live:
            return LOOK_S
        own_s = POLL_S if waited_s < PATIENT_S else SLOW_POLL_S
        return max(own_s, self._n_waiting / LOOKS_PER_S)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """One more waiter, for as long as the block runs."""
        with self._lock:
            self._n_waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_waiting -= 1
