"""Batches: asked for, looked at, cancelled. What works on them: `batch_work`."""

import time
from collections.abc import Sequence
from contextlib import suppress

from orchestrator.domain.assignments import JobProgress, JobState
from orchestrator.domain.batches import Batch, BatchState, LineCounts, Purpose
from orchestrator.errors import InputError, NotFoundError
from orchestrator.ports.batches import BatchStore, Page
from orchestrator.ports.clock import EpochClock
from orchestrator.ports.files import FileStore
from orchestrator.ports.jobs import JobWatcher
from orchestrator.services.jobs import Jobs

_WITH_JOB = (BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.CANCELLING)


class BatchDesk:
    """Desk at which batches are asked for.

    Args:
        watcher: of the jobs that batches become.
        now_s: seconds since 1970.
    """

    def __init__(
        self,
        store: BatchStore,
        *,
        files: FileStore,
        jobs: Jobs,
        watcher: JobWatcher,
        now_s: EpochClock = time.time,
    ) -> None:
        self._store = store
        self._files = files
        self._jobs = jobs
        self._watcher = watcher
        self._now_s = now_s

    def create(self, batch: Batch) -> Batch:
        """Store a batch that is to be checked; the one that is there under its id already stays as it is.

        Raises:
            NotFoundError: no such file. InputError: a file of another purpose.
        """
        if self._files.file(batch.input_file_id).purpose is not Purpose.BATCH:
            raise InputError(
                f"file '{batch.input_file_id}' was not uploaded with the purpose 'batch'.",
                param="input_file_id",
                remedy="Upload it again with that purpose.",
            )
        return self._store.add_batch(batch)

    def batch(self, batch_id: str) -> Batch:
        """A batch as it is at the moment: counts and state follow its job.

        Raises:
            NotFoundError: no such batch.
        """
        return self._live([self._store.batch(batch_id)])[0]

    def batches(self, page: Page) -> list[Batch]:
        """One page of batches as they are at the moment: counts and states follow their jobs.

        Raises:
            InputError: the page follows an id that is not in this list.
        """
        return self._live(self._store.batches(page))

    def cancel(self, batch_id: str) -> Batch:
        """End a batch; what is answered is kept, and written. One that has ended stays as it is.

        Raises:
            NotFoundError: no such batch.
        """
        self._store.change(batch_id, self._cancelling)
        batch = self._store.batch(batch_id)
        if batch.state is BatchState.CANCELLING:
            with suppress(NotFoundError):  # it is not checked yet, and will not be
                self._jobs.cancel(batch_id)
        return self._live([batch])[0]

    def _cancelling(self, batch: Batch) -> Batch:
        if batch.state.is_over or batch.state is BatchState.CANCELLING:
            return batch
        return batch.moved(BatchState.CANCELLING, self._now_s())

    def _live(self, batches: Sequence[Batch]) -> list[Batch]:
        """Batches as they are at the moment: counts and states follow their jobs."""
        under_way = [batch.id for batch in batches if batch.state in _WITH_JOB]
        known = self._watcher.progress_of(under_way) if under_way else {}
        return [_following(batch, known[batch.id]) if batch.id in known else batch for batch in batches]


def _following(batch: Batch, progress: JobProgress) -> Batch:
    counts = LineCounts(total=progress.total, completed=progress.completed, failed=progress.failed)
    followed = batch.replaced(counts=counts)
    if batch.state is BatchState.IN_PROGRESS and progress.state is JobState.DONE:
        return followed.moved(BatchState.FINALIZING, progress.finished_at or batch.created_at)
    return followed
