"""Shadow jobs, as the books have them."""

from typing import Protocol

from orchestrator.ports.jobs import JobReader, QueryRecord


class ShadowReader(JobReader, Protocol):
    """Shadow jobs: those that answer once more, by another composition, what somebody asked."""

    def n_shadows(self, *, limit: int) -> int:
        """Shadow jobs that have not ended; of more than `limit`, no more are counted."""

    def ended_shadows(self, *, limit: int) -> list[str]:
        """Ids of shadow jobs that have ended, the latest first."""

    def query_record(self, job_id: str, query_id: str | None) -> QueryRecord:
        """See `ports.jobs.ResultReader`.

        Raises:
            NotFoundError: no such job or query. InputError: None, and the job has several.
        """
