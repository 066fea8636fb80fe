"""Jobs enter: submit, and the outbox."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain, islice
from typing import Any

from sqlalchemy import Connection, Double, bindparam, cast, delete, insert, select, update

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Job, JobState
from orchestrator.domain.keys import nothing_found
from orchestrator.domain.queries import Query
from orchestrator.errors import StoreError
from orchestrator.ports.jobs import Bell
from orchestrator.store import reusing
from orchestrator.store import tables as t
from orchestrator.store.bulk import Record, among, insert_rows
from orchestrator.store.codec import checked_name, is_name, shown, to_json
from orchestrator.store.database import chunked, db_now, upsert_in
from orchestrator.store.tally import COUNTERS, close_if_finished

CHUNK = 1000


QUERY_COLUMNS = (
    *("job_pk", "ix", "custom_id", "payload", "priority", "stage", "state", "n_outstanding"),
    "reuse_key",
)
PAYLOAD = QUERY_COLUMNS.index("payload")
_BELL = insert(t.outbox)
_PK = select(t.job.c.pk).where(t.job.c.id == bindparam("id"))


def submit(conn: Connection, job: Job, queries: Iterable[Query]) -> int:
    """Store a job, its queries and its bell; a job that is there already with equal content stays as it is.

    Raises:
        StoreError: the id is taken by a job with other content.
    """
    lines = iter(queries)
    first = list(islice(lines, CHUNK))
    if len(first) < CHUNK and not job.reuses:
        return _submit_small(conn, job, first)
    return _submit_large(conn, job, chain(first, lines))


def _submit_small(conn: Connection, job: Job, queries: Sequence[Query]) -> int:
    """Its row is whole at once: questions come by the hundred a second."""
    texts = [to_json(query) for query in queries]
    digest = _digest(job)
    if texts:
        digest.update("\n".join(texts).encode() + b"\n")
    job_pk = _insert_job(conn, job, content_hash=digest.hexdigest(), n_total=len(texts))
    if job_pk is None:
        return _same_job(conn, job, queries)
    conn.execute(_BELL, {"job_pk": job_pk})
    rows: list[Record] = [
        (job_pk, ix, checked_name("query", query.id), text, job.priority, 0, t.OPEN, 0, job.reuse_key(query))
        for ix, (query, text) in enumerate(zip(queries, texts, strict=True))
    ]
    insert_rows(conn, t.query, QUERY_COLUMNS, rows)
    if not rows:
        close_if_finished(conn, job_pk)
    return len(rows)


def _submit_large(conn: Connection, job: Job, queries: Iterable[Query]) -> int:
    job_pk = _insert_job(conn, job)
    if job_pk is None:
        return _same_job(conn, job, queries)
    conn.execute(_BELL, {"job_pk": job_pk})
    digest, n_total, n_known = _digest(job), 0, 0
    for chunk in chunked(enumerate(queries), CHUNK):
        keys = {ix: job.reuse_key(query) for ix, query in chunk}
        answers = _reused(conn, keys) if job.reuses else {}
        rows = [
            _query_row(job, job_pk, ix, query, key=keys[ix], is_known=ix in answers) for ix, query in chunk
        ]
        insert_rows(conn, t.query, QUERY_COLUMNS, rows)
        reusing.store_answers(conn, job_pk, answers)
        digest.update("\n".join(str(row[PAYLOAD]) for row in rows).encode() + b"\n")
        n_total += len(rows)
        n_known += len(answers)
    values = {"n_total": n_total, "n_completed": n_known, "content_hash": digest.hexdigest()}
    conn.execute(update(t.job).where(t.job.c.pk == job_pk).values(**values))
    close_if_finished(conn, job_pk)
    return n_total


def outbox(conn: Connection, limit: int) -> list[Bell]:
    """See `ports.jobs.Outbox`."""
    o = t.outbox.c
    rows = conn.execute(select(o.pk, t.job.c.id).join(t.job).order_by(o.pk).limit(limit))
    return [Bell(pk, job_id) for pk, job_id in rows]


def rung(conn: Connection, ids: Iterable[int]) -> None:
    """See `ports.jobs.Outbox`."""
    o = t.outbox.c
    mine = select(o.pk).where(among(o.pk, ids)).with_for_update(skip_locked=True).cte("mine")
    conn.execute(delete(t.outbox).where(o.pk.in_(select(mine.c.pk))))


def job_pk_of(conn: Connection, job_id: str) -> int:
    """Number of the job of an id.

    Raises:
        NotFoundError: no such job.
    """
    found = conn.execute(_PK, {"id": job_id}) if is_name(job_id) else None
    pk = None if found is None else found.scalar()
    if pk is None:
        raise nothing_found("job", shown(job_id))
    return int(pk)


def _insert_job(conn: Connection, job: Job, *, content_hash: str = "", n_total: int = 0) -> int | None:
    """Its number; None = there is one of this id."""
    row = {
        "b_id": checked_name("job", job.id),
        "b_kind": job.kind,
        "b_owner": job.owner,
        "b_session": checked_name("session", job.session or ""),
        "b_payload": to_json(job),
        "b_content_hash": content_hash,
        "b_n_total": n_total,
        "b_deadline_s": job.deadline_s,
    }
    return conn.execute(_inserting(conn.dialect.name), row).scalar()


@cache
def _inserting(dialect: str) -> Any:
    """INSERT of a job that runs."""
    given = ("id", "kind", "owner", "session", "payload", "content_hash", "n_total")
    zero = dict.fromkeys(("n_retries", *COUNTERS), 0)
    statement = (
        upsert_in(dialect, t.job)
        .on_conflict_do_nothing()
        .values(
            created_at=db_now(),
            deadline_at=db_now() + cast(bindparam("b_deadline_s"), Double),
            state=JobState.RUNNING,
            **{name: bindparam(f"b_{name}") for name in given},
            **zero,
        )
    )
    return statement.returning(t.job.c.pk)


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
    """A label is a name and no content, and neither is a trace: the same questions under other ones are the
    same job. So are those that may be answered by what is known."""
    without = {"label": "", "traceparent": "", "knowledge": "", "reuses": False}
    content = job.model_copy(update=without)
    return hashlib.sha256(to_json(content).encode() + b"\n")


def _reused(conn: Connection, keys: Mapping[int, str | None]) -> dict[int, Answer]:
    """Known answers by the places of their queries."""
    known = reusing.known_answers(conn, sorted({key for key in keys.values() if key is not None}))
    return {ix: known[key] for ix, key in keys.items() if key in known}


def _query_row(job: Job, job_pk: int, ix: int, query: Query, *, key: str | None, is_known: bool) -> Record:
    """In the order of `QUERY_COLUMNS`."""
    state = t.COMPLETED if is_known else t.OPEN
    return (job_pk, ix, checked_name("query", query.id), to_json(query), job.priority, 0, state, 0, key)
