"""Following: the progress of many jobs, for all who look on, in one look at the books."""

from collections.abc import Collection

from orchestrator.domain.assignments import JobProgress
from orchestrator.ports.jobs import JobWatcher


class Following:
    """Progress of jobs that somebody follows."""

    def __init__(self, jobs: JobWatcher) -> None:
        self._jobs = jobs

    def progress_of(self, job_ids: Collection[str]) -> dict[str, JobProgress]:
        """Progress by job; one that was deleted is left out."""
        return self._jobs.progress_of(job_ids)
