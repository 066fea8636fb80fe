"""Jobs enter and leave: submit, cancel, expire, the outbox, and the counters that close a job.

Row locks are taken in one order everywhere, so that no two transactions wait for each other: queries by
ascending `pk`, an assignment only under its query's, jobs last.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from itertools import groupby

from sqlalchemy import Connection, delete, func, insert, literal, select, update

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Job, JobState
from orchestrator.domain.queries import Query
from orchestrator.errors import NotFoundError, StoreError
from orchestrator.ports.jobs import Bell
from orchestrator.store import tables as t
from orchestrator.store.bulk import Record, among, insert_rows
from orchestrator.store.codec import checked_name, to_json
from orchestrator.store.database import chunked, db_now, inline, insert_or_ignore

CHUNK = 1000


QUERY_COLUMNS = ("job_pk", "ix", "custom_id", "payload", "priority", "stage", "state", "n_outstanding")
PAYLOAD = QUERY_COLUMNS.index("payload")

COUNTERS = ("n_completed", "n_failed", "n_assignments", "n_responses", "n_regenerated")

Counts = Counter[tuple[int, str]]
"""What a transaction adds to jobs: (job pk, one of `COUNTERS`) -> n. Applied last, see the lock order."""


def submit(conn: Connection, job: Job, queries: Iterable[Query]) -> int:
    """Store a job, its queries and its bell; a job that is there already with equal content stays as it is.

    Raises:
        StoreError: the id is taken by a job with other content.
    """
    job_pk = _insert_job(conn, job)
    if job_pk is None:
        return _same_job(conn, job, queries)
    conn.execute(insert(t.outbox).values(job_pk=job_pk))
    digest, n_total = _digest(job), 0
    for chunk in chunked(enumerate(queries), CHUNK):
        rows = [_query_row(job, job_pk, ix, query) for ix, query in chunk]
        insert_rows(conn, t.query, QUERY_COLUMNS, rows)
        digest.update("\n".join(str(row[PAYLOAD]) for row in rows).encode() + b"\n")
        n_total += len(rows)
    values = {"n_total": n_total, "content_hash": digest.hexdigest()}
    conn.execute(update(t.job).where(t.job.c.pk == job_pk).values(**values))
    close_if_finished(conn, job_pk)
    return n_total


def cancel(conn: Connection, job_id: str) -> None:
    """End a job early; a finished one is left alone."""
    note = Answer(text="", error_code="cancelled", error="The job was cancelled before this was answered.")
    _end(conn, job_pk_of(conn, job_id), JobState.CANCELLED, note)


def expire(conn: Connection) -> int:
    """End the jobs past their deadline; returns how many."""
    note = Answer(
        text="",
        error_code="batch_expired",
        error="This request could not be executed before the completion window expired.",
    )
    j = t.job.c
    overdue = select(j.pk).where(j.state == inline(JobState.RUNNING.value), j.deadline_at < db_now())
    return sum(_end(conn, pk, JobState.EXPIRED, note) for pk in sorted(conn.execute(overdue).scalars()))


def outbox(conn: Connection, limit: int) -> list[Bell]:
    o = t.outbox.c
    rows = conn.execute(select(o.pk, t.job.c.id).join(t.job).order_by(o.pk).limit(limit))
    return [Bell(pk, job_id) for pk, job_id in rows]


def rung(conn: Connection, ids: Iterable[int]) -> None:
    conn.execute(delete(t.outbox).where(among(t.outbox.c.pk, ids)))


def _end(conn: Connection, job_pk: int, state: JobState, note: Answer) -> int:
    """Fail a job's open queries with `note` and take its assignments off the books; 1 unless it had
    ended before."""
    open_queries = select(t.query.c.pk).where(t.query.c.job_pk == job_pk, t.query.c.state == t.OPEN)
    locked = open_queries.order_by(t.query.c.pk).with_for_update().subquery()
    n_open = conn.execute(select(func.count()).select_from(locked)).scalar_one()
    columns = ["query_pk", "decision_is_queries", "payload"]
    blank = open_queries.add_columns(literal(False), literal(to_json(note)))
    conn.execute(insert(t.answer).from_select(columns, blank))
    conn.execute(
        update(t.assignment)
        .where(t.assignment.c.query_pk.in_(open_queries), t.assignment.c.state.in_([t.WAITING, t.LEASED]))
        .values(state=t.CANCELLED, lease_owner=None, lease_expires_at=None)
    )
    conn.execute(
        update(t.query).where(t.query.c.job_pk == job_pk, t.query.c.state == t.OPEN).values(state=t.FAILED)
    )
    _owe_no_bell(conn, job_pk)
    return conn.execute(
        update(t.job)
        .where(t.job.c.pk == job_pk, t.job.c.state == JobState.RUNNING)
        .values(state=state, n_failed=t.job.c.n_failed + n_open, finished_at=db_now())
    ).rowcount


def add_counts(conn: Connection, counts: Counts) -> None:
    """Add to the counters of jobs and close those whose last query was answered."""
    for job_pk, group in groupby(sorted(counts.items()), key=lambda item: item[0][0]):
        added = {name: n for (_, name), n in group}
        values = {name: t.job.c[name] + n for name, n in added.items()}
        conn.execute(update(t.job).where(t.job.c.pk == job_pk).values(**values))
        if "n_completed" in added or "n_failed" in added:
            close_if_finished(conn, job_pk)


def close_if_finished(conn: Connection, job_pk: int) -> None:
    finished = t.job.c.n_completed + t.job.c.n_failed == t.job.c.n_total
    closed = conn.execute(
        update(t.job)
        .where(t.job.c.pk == job_pk, t.job.c.state == JobState.RUNNING, finished)
        .values(state=JobState.DONE, finished_at=db_now())
    )
    if closed.rowcount:
        _owe_no_bell(conn, job_pk)


def _owe_no_bell(conn: Connection, job_pk: int) -> None:
    """Nobody needs to be told of a job that has ended; without a broker nobody would take its bell away."""
    owed = select(t.outbox.c.pk).where(t.outbox.c.job_pk == job_pk).with_for_update(skip_locked=True)
    conn.execute(delete(t.outbox).where(t.outbox.c.pk.in_(owed)))


def job_pk_of(conn: Connection, job_id: str) -> int:
    """Raises:
    NotFoundError: no such job.
    """
    pk = conn.execute(select(t.job.c.pk).where(t.job.c.id == job_id)).scalar()
    if pk is None:
        raise NotFoundError(f"no job '{job_id}'.", remedy="List the jobs to see their ids.")
    return int(pk)


def _insert_job(conn: Connection, job: Job) -> int | None:
    zero = dict.fromkeys(("n_total", "n_retries", *COUNTERS), 0)
    names = {"id": checked_name("job", job.id), "kind": job.kind}
    row = {**names, "payload": to_json(job), "content_hash": "", **zero}
    deadline_at = None if job.deadline_s is None else db_now() + job.deadline_s
    statement = insert_or_ignore(conn, t.job).values(
        created_at=db_now(), deadline_at=deadline_at, state=JobState.RUNNING, **row
    )
    return conn.execute(statement.returning(t.job.c.pk)).scalar()


def _same_job(conn: Connection, job: Job, queries: Iterable[Query]) -> int:
    stored = conn.execute(select(t.job.c.content_hash, t.job.c.n_total).where(t.job.c.id == job.id)).one()
    digest = _digest(job)
    for query in queries:
        digest.update(to_json(query).encode() + b"\n")
    if digest.hexdigest() != stored.content_hash:
        raise StoreError(
            f"job '{job.id}' exists with other content.", param="id", remedy="Submit under a new id."
        )
    return int(stored.n_total)


def _digest(job: Job) -> "hashlib._Hash":
    """A label is a name and no content: the same questions under another one are the same job."""
    content = job.model_copy(update={"label": ""})
    return hashlib.sha256(to_json(content).encode() + b"\n")


def _query_row(job: Job, job_pk: int, ix: int, query: Query) -> Record:
    """In the order of `QUERY_COLUMNS`."""
    return (job_pk, ix, checked_name("query", query.id), to_json(query), job.priority, 0, t.OPEN, 0)
