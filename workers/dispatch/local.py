"""Gets jobs done in this process: one device loop, in the caller's thread or in its own."""

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial

from orchestrator.batching import plan
from orchestrator.domain.assignments import BACKGROUND, BATCH, JobProgress, LoadPlan
from orchestrator.errors import StoreUnavailableError
from orchestrator.ports.clock import Clock
from orchestrator.ports.dispatch import Told
from orchestrator.ports.questions import Begun
from workers.device.pace import DEFAULT_PACE, Pace
from workers.device.pulse import Pulse
from workers.device.wiring import DeviceSetup, make_device_loop
from workers.dispatch.lookout import Ending, Lookout
from workers.leases.carrying import Taken
from workers.leases.owners import new_owner
from workers.pieces import OnTold, Settled, Watch, Watches, as_it_is, follow, writers

log = logging.getLogger(__name__)

PROGRESS_S = 0.2
INTERRUPTED = 130
"""Exit code of a process that was interrupted twice."""
TURN_S = 0.25
"""How often who waits sees whether nobody works any more."""
LISTEN_S = LOOK_S = 1.0
"""How long others' news (a job cancelled, answered by another process) may take to arrive."""
STORE_BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0)

OnProgress = Callable[[JobProgress], None]


class LocalDispatcher:
    """Implements `ports.Dispatcher` embedded in one process.

    Several processes may work on one database: leases keep them apart.

    Args:
        settled: how an answer begins, given the pieces of an unfinished response.
        on_told: called, from the loop's thread, with what is told of calls that somebody reads along with,
            or follows; None = those who listen here are told.
        on_committed: as of `make_device_loop`.
    """

    def __init__(
        self,
        setup: DeviceSetup,
        *,
        clock: Clock = time.monotonic,
        pace: Pace = DEFAULT_PACE,
        settled: Settled = as_it_is,
        on_told: OnTold | None = None,
        on_committed: Callable[[], None] | None = None,
    ) -> None:
        self._stores = setup.stores
        self._clock = clock
        self._pace = pace
        self._watches = Watches()
        self._loop = make_device_loop(
            setup,
            owner=new_owner(),
            clock=clock,
            pace=pace,
            writers=writers(settled, on_told or self._watches.add),
            on_committed=on_committed,
        )
        self._pulse = Pulse(self._loop.beat, every_s=pace.look_s)
        self._driving = threading.Lock()
        self._bell, self._has_rung = threading.Event(), threading.Event()
        self._lookout = Lookout(setup.stores.jobs.states_of, pause_s=lambda: LOOK_S)
        self._stopping = threading.Event()
        self._interrupted = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_serving(self) -> bool:
        """True while the background loop runs."""
        return self._thread is not None and self._thread.is_alive()

    def run(self, job_id: str, *, on_progress: OnProgress | None = None) -> JobProgress:
        """Drive the device until the job ends, or `stop`. Interrupted, it gives its leases back: the job
        resumes where it was.

        Raises:
            NotFoundError: no such job.
            StoreUnavailableError: the database stayed away for longer than `STORE_BACKOFF_S`.
        """
        least = min(BATCH, self._stores.jobs.job(job_id).job.priority)
        progress = self._drive(job_id, until=math.inf, min_priority=least, on_progress=on_progress)
        if on_progress is not None:
            on_progress(progress)
        return progress

    def wait(self, job_id: str, *, timeout_s: float) -> JobProgress:
        """Until the job ends or the time is up. Drives the device itself when nobody else does, for work that
        is as urgent: other jobs' batches wait for those who asked for them."""
        return self._drive(job_id, until=self._clock() + timeout_s, min_priority=None, on_progress=None)

    @contextmanager
    def expect(self, job_id: str, *, timeout_s: float) -> Iterator[Iterator[None]]:
        watch = Watch()
        with self._lookout.waiting(job_id, wake=watch.move, looks=True) as ending:
            yield self._turns(watch, ending, until=self._clock() + timeout_s)

    def _turns(self, watch: Watch, ending: Ending, *, until: float) -> Iterator[None]:
        ending.is_submitted = True
        if not self.is_serving:
            self._drive(ending.job_id, until=until, min_priority=None, on_progress=None)
        while self.is_serving and not self._has_end(ending) and not self._is_over(until):
            if watch.wait(max(0.0, min(LOOK_S, until - self._clock()))).moved and not ending.is_over:
                yield
        yield
        self._lookout.require_end(ending)

    def _has_end(self, ending: Ending) -> bool:
        return ending.is_over or self._lookout.is_dismissed

    @contextmanager
    def listen(self, job_id: str, *, timeout_s: float) -> Iterator[Iterator[Sequence[Told]]]:
        """Pieces of a job's answers; where no background loop runs, they come when all is done."""
        with self._watches.watch(job_id) as watch:
            yield self._follow(job_id, watch, until=self._clock() + timeout_s)

    def plan(self, *, later: frozenset[str]) -> LoadPlan:
        """Plan of the work that waits for the device; what an engine has taken already is not in it."""
        loop = self._loop
        backlog = [
            item for item in self._stores.waiting.backlog(owner=loop.owner) if loop.is_local(item.engine_id)
        ]
        later = frozenset(filter(loop.is_local, later))
        rates = loop.rates.extended({*later, *(item.engine_id for item in backlog)})
        return plan(backlog, resident=loop.resident, later=later, rates=rates)

    def notify(self) -> None:
        """Ring the bell: there is new work."""
        self._has_rung.set()
        self._bell.set()
        self._loop.interrupt()

    def begin(self, steps: Sequence[Taken], engine_of: Mapping[str, str]) -> Begun:
        """Store steps that another thread of this process took; calls of questions begin here at once where
        their engines are loaded."""
        store, handover = self._stores.questions, self._loop.handover
        lessee = handover.lessee if self.is_serving and not self._stopping.is_set() else None
        if store is None or lessee is None:
            return Begun(self._stores.steps.advance(steps, engine_of))
        begun = store.begin(steps, engine_of, lessee)
        handover.hand(begun.assignments)
        if self._stopping.is_set():  # the loop may have looked for the last time
            ids = [assignment.id for assignment in begun.assignments]
            self._stores.leases.release(lessee.owner, ids, refund_attempt=True)
        elif begun.assignments:
            self._bell.set()
            self._loop.interrupt()
        return begun

    def start(self) -> None:
        """Run the loop in a background thread until `stop`; idempotent."""
        if self.is_serving:
            return
        self._stopping.clear()
        self._lookout.is_dismissed = False
        self._thread = threading.Thread(target=self._serve, name="muster-device", daemon=True)
        self._thread.start()

    def dismiss(self) -> None:
        self._lookout.dismiss()

    def stop(self) -> None:
        """End the background loop, give back leases, free the device; idempotent. Nobody waits any more."""
        self._stopping.set()
        self.dismiss()
        self.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._driving:
            self._loop.close()

    def unload(self) -> None:
        """Free the device; the next claim loads what it needs."""
        with self._driving:
            self._loop.shut_down()

    def _follow(self, job_id: str, watch: Watch, *, until: float) -> Iterator[Sequence[Told]]:
        if not self.is_serving:
            self._drive(job_id, until=until, min_priority=None, on_progress=None)
        with self._lookout.waiting(job_id, wake=watch.move) as ending:
            yield from follow(
                watch,
                has_ended=lambda: self._has_end(ending),
                pause_s=lambda: LISTEN_S,
                until=until,
                clock=self._clock,
            )
            self._lookout.require_end(ending)

    def _drive(
        self, job_id: str, *, until: float, min_priority: int | None, on_progress: OnProgress | None
    ) -> JobProgress:
        """Work, or watch while another thread of this process works. `min_priority` None = the job's."""
        progress = self._stores.jobs.job(job_id)
        urgency = progress.job.priority if min_priority is None else min_priority
        self.notify()
        while not progress.state.is_over and not self._is_over(until):
            if self._driving.acquire(blocking=False):
                try:
                    self._loop.leave_below(urgency)
                    work = partial(self._work, job_id, until=until, on_progress=on_progress)
                    progress = self._aside(work)
                finally:
                    self._loop.leave_below(BACKGROUND)
                    self._driving.release()
            else:
                self._await_turn(job_id, until=until if on_progress is None else self._clock() + PROGRESS_S)
                progress = self._stores.jobs.job(job_id)
                if on_progress is not None:
                    on_progress(progress)
        return progress

    def _aside(self, work: Callable[[], JobProgress]) -> JobProgress:
        """Work in a thread of its own while this one waits: an interruption, which may come at any moment of
        this one, ends the work where nothing is lost. A second one ends the process."""
        self._interrupted.clear()
        done: Future[JobProgress] = Future()
        threading.Thread(target=_run, args=(work, done), name="muster-drive", daemon=True).start()
        try:
            wait([done])
        except BaseException:
            self._interrupted.set()
            self.notify()
            log.info("leaving as soon as what engines have finished is stored")
            try:
                wait([done])
            except KeyboardInterrupt:
                logging.shutdown()
                os._exit(INTERRUPTED)
            raise
        return done.result()

    def _await_turn(self, job_id: str, *, until: float) -> bool:
        """Until the job has ended, the time is up, or nobody works any more; whether it ended."""
        watch = Watch()
        with self._lookout.waiting(job_id, wake=watch.move) as ending:
            while not ending.is_over and not self._is_over(until) and self._driving.locked():
                turn_s = LOOK_S if self.is_serving else TURN_S
                watch.wait(max(0.0, min(turn_s, until - self._clock())))
            return ending.is_over

    def _is_over(self, until: float) -> bool:
        return self._stopping.is_set() or self._interrupted.is_set() or self._clock() >= until

    def _work(self, job_id: str, *, until: float, on_progress: OnProgress | None) -> JobProgress:
        self._loop.bury_the_dead()
        progress, shown_at = self._stores.jobs.job(job_id), self._clock()
        clean = False
        try:
            with self._pulse:
                while not progress.state.is_over and not self._is_over(until):
                    self._round()
                    progress = self._stores.jobs.job(job_id)
                    if on_progress is not None and self._clock() - shown_at >= PROGRESS_S:
                        on_progress(progress)
                        shown_at = self._clock()
            clean = self._loop.is_idle
        finally:
            if clean:  # the engine stays, but nobody serves it until the next run
                self._loop.step_aside()
            else:  # nobody would renew what is still under lease
                self._loop.shut_down()
        return progress

    def _serve(self) -> None:
        with self._driving, self._pulse:
            while not self._stopping.is_set():
                try:
                    while not self._stopping.is_set():
                        self._round()
                except Exception:  # the server outlives whatever happens here
                    log.exception("device loop failed; starting over")
                    self._loop.shut_down()
                    self._stopping.wait(STORE_BACKOFF_S[-1])

    def _round(self) -> None:
        """A tick, with patience for the database, and a rest when there is nothing to do."""
        if self._bell.is_set():
            self._bell.clear()
            if self._has_rung.is_set():  # else it is for what was begun elsewhere
                self._has_rung.clear()
                self._loop.wake()
        for delay_s in STORE_BACKOFF_S:
            try:
                busy = self._loop.tick()
                break
            except StoreUnavailableError:
                log.warning("the database is away; trying again in %s s", delay_s, exc_info=True)
                self._stopping.wait(delay_s)
        else:
            busy = self._loop.tick()
        self._lookout.moved(self._loop.take_moved())
        if not busy:
            self._bell.wait(self._pace.look_s)


def _run(work: Callable[[], JobProgress], done: "Future[JobProgress]") -> None:
    try:
        done.set_result(work())
    except BaseException as error:  # whatever it is, it is whose thread waits
        done.set_exception(error)
