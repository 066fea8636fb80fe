"""The job store: `ports.JobStore` over SQLite or PostgreSQL. Each method is one transaction."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from sqlalchemy import insert

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import (
    EngineBacklog,
    Job,
    JobProgress,
    JobState,
    QueryState,
    Response,
    Step,
)
from orchestrator.domain.queries import Query
from orchestrator.errors import StoreError
from orchestrator.ports import AnsweredQuery, Claim, Completion, SweepReport
from orchestrator.store import claims, reading, submission
from orchestrator.store import tables as t
from orchestrator.store.database import Database, db_now
from orchestrator.store.steps import advance, ready


class SqlJobStore:
    """Jobs, queries, assignments, responses and answers; safe for many threads and processes.

    Every method raises StoreUnavailableError when the database cannot be reached (nothing was
    written then), StoreError when it refuses, NotFoundError for an unknown job.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def submit(self, job: Job, queries: Iterable[Query]) -> int:
        with self._db.write() as conn:
            return submission.submit(conn, job, queries)

    def job(self, job_id: str) -> JobProgress:
        with self._db.read() as conn:
            return reading.progress(conn, job_id)

    def jobs(self, *, limit: int = 100) -> list[JobProgress]:
        """Running jobs first, then the others; newest first within both."""
        with self._db.read() as conn:
            return reading.newest(conn, limit=limit)

    def set_state(self, job_id: str, state: JobState) -> None:
        """Cancel a job: its open queries fail with `cancelled`. A job that has ended stays as it is.

        Raises:
            StoreError: any other change; a job is DONE when its last query is answered.
        """
        with self._db.write() as conn:
            if state is JobState.CANCELLED:
                submission.cancel(conn, job_id)
            elif reading.progress(conn, job_id).state is not state:
                raise StoreError(
                    f"job '{job_id}' cannot be set to '{state}'.", remedy="Submit its open queries again."
                )

    def ready(self, *, limit: int, job_id: str | None = None) -> list[QueryState]:
        with self._db.read() as conn:
            return ready(conn, limit=limit, job_id=job_id)

    def advance(self, steps: Sequence[tuple[QueryState, Step]], engine_of: Mapping[str, str]) -> int:
        with self._db.write() as conn:
            return advance(conn, steps, engine_of)

    def backlog(self, *, owner: str) -> list[EngineBacklog]:
        with self._db.read() as conn:
            return claims.backlog(conn, owner=owner)

    def claim(
        self, engine_id: str, *, owner: str, limit: int, lease_s: float, min_priority: int = 0
    ) -> Claim:
        """Lease up to `limit` assignments of one priority and attempt; retried ones in smaller shards."""
        with self._db.read() as conn:
            if limit < 1 or not claims.is_waiting(conn, engine_id, min_priority=min_priority):
                return Claim(owner, ())
        with self._db.write() as conn:
            return Claim(
                owner,
                claims.claim(
                    conn, engine_id, owner=owner, limit=limit, lease_s=lease_s, min_priority=min_priority
                ),
            )

    def renew(self, owner: str, *, lease_s: float) -> int:
        with self._db.write() as conn:
            return claims.renew(conn, owner, lease_s=lease_s)

    def complete(self, owner: str, completions: Sequence[Completion]) -> int:
        with self._db.write() as conn:
            return claims.complete(conn, owner, completions)

    def release(self, owner: str, assignment_ids: Sequence[int], *, refund_attempt: bool) -> None:
        with self._db.write() as conn:
            claims.release(conn, owner, assignment_ids, refund=refund_attempt)

    def release_owner(self, owner: str, *, refund_attempt: bool) -> int:
        """Give back everything an owner holds; returns how many assignments."""
        with self._db.write() as conn:
            return claims.release(conn, owner, None, refund=refund_attempt)

    def lease_owners(self) -> list[str]:
        """Who holds leases now, expired ones included."""
        with self._db.read() as conn:
            return claims.lease_owners(conn)

    def sweep(self, *, max_attempts: int) -> SweepReport:
        with self._db.write() as conn:
            return claims.sweep(conn, max_attempts=max_attempts)

    def answers(self, job_id: str) -> Iterator[AnsweredQuery]:
        self.job(job_id)
        return reading.answers(self._db, job_id)

    def answer(self, job_id: str) -> Answer | None:
        with self._db.read() as conn:
            return reading.first_answer(conn, job_id)

    def responses(self, job_id: str) -> Iterator[tuple[Query, tuple[Response, ...]]]:
        self.job(job_id)
        return reading.responses(self._db, job_id)

    def record_load(self, *, engine_id: str, device: str, owner: str, seconds: float) -> None:
        row = {"engine_id": engine_id, "device": device, "owner": owner, "seconds": seconds}
        with self._db.write() as conn:
            conn.execute(insert(t.engine_load).values(at=db_now(), **row))

    def loads(self, *, job_id: str | None = None) -> int:
        """Loads so far; of a job: those of its engines while it ran."""
        with self._db.read() as conn:
            return reading.n_loads(conn, job_id)

    def close(self) -> None:
        self._db.close()
