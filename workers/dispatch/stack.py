"""The stack's dispatcher: rings for the workers and watches; this process does none of the work."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from orchestrator.batching import Rates, plan
from orchestrator.domain.assignments import JobProgress, LoadPlan
from orchestrator.domain.devices import LIVE_S
from orchestrator.errors import StoreUnavailableError
from orchestrator.ports.clock import Clock
from orchestrator.ports.dispatch import Told
from orchestrator.ports.jobs import JobWatcher, WorkReader
from workers.dispatch.lookout import Ending, Lookout
from workers.pieces import Watch, follow
from workers.stack.bells import ADVANCE, Ringer
from workers.stack.news import News

log = logging.getLogger(__name__)

PROGRESS_S = 0.5
LOOK_S = 1.0
"""With news: how long a lost one may delay an answer."""
POLL_S = 0.05
"""Without news: how often all jobs that are waited for are looked at, in one look."""
STORE_BACKOFF_S = 0.5

OnProgress = Callable[[JobProgress], None]


class StackDispatcher:
    """Implements `ports.Dispatcher` where workers are other processes. For any number of threads."""

    def __init__(
        self,
        *,
        jobs: JobWatcher,
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
        self._lookout = Lookout(jobs.states_of, pause_s=lambda: LOOK_S if news.is_live else POLL_S)

    def start(self) -> None:
        """Begin to hear news; what was told before is not heard."""
        self._news.start()

    def dismiss(self) -> None:
        self._lookout.dismiss()

    def stop(self) -> None:
        """Ring what is to be rung yet; nobody hears or waits any more. It cannot be started again."""
        self.dismiss()
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
    def expect(self, job_id: str, *, timeout_s: float) -> Iterator[Iterator[None]]:
        with (
            self._news.watch(job_id) as watch,
            self._lookout.waiting(job_id, wake=watch.move, looks=True) as ending,
        ):
            yield self._turns(watch, ending, until=self._clock() + timeout_s)

    def _turns(self, watch: Watch, ending: Ending, *, until: float) -> Iterator[None]:
        ending.is_submitted = True
        while not self._has_end(ending) and (left_s := until - self._clock()) > 0:
            if watch.wait(min(left_s, LOOK_S)).moved and not ending.is_over:
                yield
        yield
        self._lookout.require_end(ending)

    def _has_end(self, ending: Ending) -> bool:
        return ending.is_over or self._lookout.is_dismissed

    @contextmanager
    def listen(self, job_id: str, *, timeout_s: float) -> Iterator[Iterator[Sequence[Told]]]:
        with self._news.watch(job_id) as watch:
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
        with self._news.watch(job_id) as watch, self._lookout.waiting(job_id, wake=watch.move) as ending:
            while True:
                now = self._clock()
                self._await(watch, ending, until if on_progress is None else min(until, now + PROGRESS_S))
                progress = self._look(job_id, until=until)
                if on_progress is not None:
                    on_progress(progress)
                if progress.state.is_over or self._clock() >= until:
                    return progress

    def _await(self, watch: Watch, ending: Ending, until: float) -> None:
        """Until the job has ended; what is told of its answer is for others."""
        while not ending.is_over and (left_s := until - self._clock()) > 0:
            if watch.wait(min(left_s, LOOK_S)).moved:
                self._lookout.moved([ending.job_id])

    def _follow(self, job_id: str, watch: Watch, *, until: float) -> Iterator[Sequence[Told]]:
        with self._lookout.waiting(job_id, wake=watch.move) as ending:

            def has_ended() -> bool:
                self._lookout.moved([] if ending.is_over else [job_id])
                return self._has_end(ending)

            yield from follow(
                watch, has_ended=has_ended, pause_s=lambda: LOOK_S, until=until, clock=self._clock
            )
            self._lookout.require_end(ending)

    def _look(self, job_id: str, *, until: float) -> JobProgress:
        while True:
            try:
                return self._jobs.job(job_id)
            except StoreUnavailableError as error:
                if self._clock() + STORE_BACKOFF_S >= until:
                    raise
                log.warning("job %s: the database is away: %s", job_id, error)
                time.sleep(STORE_BACKOFF_S)
