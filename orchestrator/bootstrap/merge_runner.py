"""The thread that makes merges which were asked for over REST, one at a time."""

import logging
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.bootstrap.merging import Child, MergeLife, MergeOrder, check_order, run_order
from orchestrator.domain.merges import MergeJob, MergeReport, MergeState
from orchestrator.errors import InputError, MergeStoppedError, MusterError, StaleLeaseError, StoreError
from orchestrator.ports.merging import MergeJobs
from orchestrator.services.merges import Bounds
from orchestrator.settings.schema import Settings

if TYPE_CHECKING:
    from orchestrator.bootstrap.app import App
    from orchestrator.domain.assignments import JobProgress
    from orchestrator.services.jobs import OnProgress

log = logging.getLogger(__name__)

LOOK_S = 2.0
BEAT_S = 1.0
SILENT_S = 120.0
STOP_S = 10.0


class MergeRunner:
    """Takes queued merges from the database and makes them, in a thread of its own.

    What it does when it is stopped is interrupted, and can be resumed.

    Args:
        settings: as they were loaded, without merged experts.
        child: replaces the process that merges.
    """

    def __init__(
        self, jobs: MergeJobs, settings: Settings, bounds: Bounds, *, child: Child | None = None
    ) -> None:
        self._child = child
        self._jobs = jobs
        self._settings = settings
        self._bounds = bounds
        self._owner = uuid.uuid4().hex
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look for merges, every `LOOK_S`; once only."""
        self._thread = threading.Thread(target=self._run, name="muster-merges", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Interrupt what is made, and wait for that for up to `STOP_S`; harmless if it was never started."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def run_one(self) -> bool:
        """Make the next merge; False = none waits."""
        job = self._jobs.take(self._owner, silent_s=SILENT_S)
        if job is None:
            return False
        log.info("merge %s begins", job.id)
        watch = _Watch(job.id, self._jobs, self._owner, self._stopping.is_set)
        with watch.beating():
            ended = self._made(job, watch)
        try:
            self._jobs.change(job.id, lambda _: ended, owner=None, held_by=self._owner)
        except StaleLeaseError:
            log.warning("merge %s was taken for lost meanwhile", job.id)
        else:
            log.info("merge %s is %s", job.id, ended.state)
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self.run_one():
                    continue
            except StoreError as error:  # the database is away: later
                log.warning("merges wait: %s", error)
            except Exception:
                log.exception("a merge ended unexpectedly")
            self._stopping.wait(LOOK_S)

    def _made(self, job: MergeJob, watch: "_Watch") -> MergeJob:
        """The job as it is at its end; never raises what concerns the merge alone."""
        try:
            report, is_kept = self._make(job, watch)
        except MergeStoppedError:
            state = MergeState.CANCELLED if watch.is_cancelled else MergeState.INTERRUPTED
            return job.replaced(state=state, progress="")
        except StoreError:
            raise
        except (MusterError, OSError) as error:
            return job.replaced(state=MergeState.FAILED, error=str(error), progress="")
        state = MergeState.COMPLETED if is_kept else MergeState.REFUSED
        return job.replaced(state=state, report=report, progress="", done=watch.done, of=watch.of)

    def _make(self, job: MergeJob, watch: "_Watch") -> tuple[MergeReport, bool]:
        write = self._bounds.write
        write.mkdir(parents=True, exist_ok=True)
        self._require_room()
        with tempfile.TemporaryDirectory(prefix="muster-recipe-") as scratch:
            recipe = Path(scratch) / "recipe.yaml"
            recipe.write_text(job.recipe, encoding="utf-8")
            order = MergeOrder(
                recipe, write / job.out, seed=job.seed, force=job.force, below=self._bounds.read
            )
            checked = check_order(order)
            if job.profile:
                life = MergeLife(self._settings)
                life.check(checked, force=job.force)
                return life.run(
                    checked,
                    on_progress=watch.merging,
                    showing=watch.measuring,
                    stopped=watch.stopped,
                    child=self._child,
                )
            report = run_order(checked, on_progress=watch.merging, stopped=watch.stopped, child=self._child)
            return report, report.merge.sha256 is not None

    def _require_room(self) -> None:
        most = self._settings.muster.merges.max_gib
        used = sum(p.stat().st_size for p in self._bounds.write.rglob("*") if p.is_file()) / 2**30
        if used >= most or shutil.disk_usage(self._bounds.write).free < 2**28:
            raise InputError(
                f"{used:.1f} GiB are in the folder for merges, which holds {most:g}.",
                param="out",
                remedy="Remove results that are not needed, or raise muster.merges.max_gib.",
            )


class _Watch:
    """Progress of a merge into the database, at most every `BEAT_S`, and its cancelling out of it.

    A thread tells of it, too: a large tensor, or a load, may take longer than others wait for a word.
    """

    def __init__(self, job_id: str, jobs: MergeJobs, owner: str, stopping: Callable[[], bool]) -> None:
        self._job_id = job_id
        self._jobs = jobs
        self._owner = owner
        self._stopping = stopping
        self._told_at = 0.0
        self._progress = "merging"
        self._lock = threading.Lock()
        self.done = self.of = 0
        self.is_cancelled = False

    @contextmanager
    def beating(self) -> Iterator[None]:
        """While inside, others hear that it is at work."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(BEAT_S):
                self._tell()

        thread = threading.Thread(target=beat, name="muster-merge-beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def merging(self, done: int, of: int) -> None:
        self.done, self.of = done, of
        self._tell()

    @contextmanager
    def measuring(self, _: "App") -> Iterator["OnProgress"]:
        self._progress = "measuring"

        def on_job(progress: "JobProgress") -> None:
            self.done, self.of = progress.n_responses, progress.n_assignments
            if self.stopped():
                raise MergeStoppedError("the merge was stopped.")

        yield on_job

    def stopped(self) -> bool:
        self._tell()
        return self.is_cancelled or self._stopping()

    def _tell(self) -> None:
        with self._lock:
            if time.monotonic() - self._told_at < BEAT_S:
                return
            self._told_at = time.monotonic()
            try:
                job = self._jobs.change(self._job_id, self._changed, owner=self._owner, held_by=self._owner)
            except StaleLeaseError:  # somebody else's, or nobody's, by now
                self.is_cancelled = True
            except StoreError as error:  # it is told later
                log.warning("progress of merge %s is not told: %s", self._job_id, error)
            else:
                self.is_cancelled = job.state is not MergeState.RUNNING

    def _changed(self, job: MergeJob) -> MergeJob:
        return job.replaced(progress=self._progress, done=self.done, of=self.of)
