"""Ended jobs run again: queries without a usable answer are open once more, what is answered stays.

A query that a cancellation or a deadline ended goes on where it was; one that failed begins anew, with its
recruits. An ended job's rows are nobody's business but ours, so one transaction opens all of them.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from orchestrator.domain.assignments import UNDER_WAY, JobState
from orchestrator.errors import JobRunningError
from orchestrator.store import tables as t
from orchestrator.store.bulk import Record, among, insert_rows
from orchestrator.store.database import chunked, db_now
from orchestrator.store.spending import forget
from orchestrator.store.steps import ASSIGNMENT_COLUMNS
from orchestrator.store.submission import job_pk_of
from orchestrator.store.tally import Counts, Listed, add_counts

CHUNK = 2000

INTERRUPTED = frozenset({"cancelled", "batch_expired"})
"""Error codes of queries that nobody failed at: they were not waited for."""

_STATE, _ATTEMPT, _CREATED_AT = (ASSIGNMENT_COLUMNS.index(n) for n in ("state", "attempt", "created_at"))


class _Reopened(NamedTuple):
    """Queries that are open again, by how they had ended, and the calls that went with them."""

    n_failed: int = 0
    n_completed: int = 0
    n_assignments: int = 0
    n_responses: int = 0

    def __add__(self, other: "_Reopened") -> "_Reopened":  # type: ignore[override]
        return _Reopened(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def retry(conn: Connection, job_id: str, *, failed_only: bool, deadline_s: float | None) -> int:
    """Open a job's failed queries again, and without `failed_only` the degraded ones; returns how many.

    A job without any stays as it is. `deadline_s`: from now; None = the job has none any more.

    Raises:
        NotFoundError: no such job.
        JobRunningError: it has not ended.
    """
    job_pk = job_pk_of(conn, job_id)
    _require_end(conn, job_pk, job_id)
    wanted = [t.FAILED] if failed_only else [t.FAILED, t.COMPLETED]
    closed = select(t.query.c.pk, t.query.c.state).where(
        t.query.c.job_pk == job_pk, t.query.c.state.in_(wanted)
    )
    rows = conn.execute(closed.order_by(t.query.c.pk).with_for_update()).all()
    _require_end(conn, job_pk, job_id, lock=True)
    counts = Counts()
    opened = sum((_reopen(conn, chunk, counts) for chunk in chunked(rows, CHUNK)), _Reopened())
    n = opened.n_failed + opened.n_completed
    if n:
        _run_again(conn, job_pk, opened, deadline_s=deadline_s)
        add_counts(conn, counts)
    return n


def _require_end(conn: Connection, job_pk: int, job_id: str, *, lock: bool = False) -> None:
    state = select(t.job.c.state).where(t.job.c.pk == job_pk)
    if conn.execute(state.with_for_update() if lock else state).scalar() in UNDER_WAY:
        raise JobRunningError(
            f"job '{job_id}' still runs.", param="id", remedy="Wait for its end, or cancel it first."
        )


def _reopen(conn: Connection, rows: Sequence[Any], counts: Counts) -> _Reopened:
    answers = select(t.answer.c.query_pk, t.answer.c.payload).where(
        among(t.answer.c.query_pk, [row.pk for row in rows])
    )
    answer_of = {query_pk: json.loads(payload) for query_pk, payload in conn.execute(answers)}
    interrupted, anew, n_completed = [], [], 0
    for row in rows:
        answer = answer_of.get(row.pk, {})
        if row.state == t.COMPLETED:
            if answer.get("degraded"):
                anew.append(row.pk)
                n_completed += 1
        elif answer.get("error_code") in INTERRUPTED:
            interrupted.append(row.pk)
        else:
            anew.append(row.pk)
    again = [*interrupted, *anew]
    conn.execute(delete(t.answer).where(among(t.answer.c.query_pk, again)))
    _go_on(conn, interrupted, counts)
    n_assignments, n_responses = _begin_anew(conn, anew)
    return _Reopened(len(again) - n_completed, n_completed, n_assignments, n_responses)


def _go_on(conn: Connection, query_pks: Sequence[int], counts: Counts) -> None:
    """Calls that were taken off the books are put there again, as new rows: who still holds an old one
    cannot be mistaken for who claims it next."""
    a = t.assignment.c
    taken_off = among(a.query_pk, query_pks) & (a.state == t.CANCELLED)
    columns = [a[name] for name in ASSIGNMENT_COLUMNS]
    calls = conn.execute(select(a.pk, *columns).where(taken_off)).all()
    conn.execute(delete(t.assignment).where(taken_off))
    now = conn.execute(select(db_now())).scalar_one()
    rows = [_waiting(call[1:], now) for call in sorted(calls, key=itemgetter(0))]
    insert_rows(conn, t.assignment, ASSIGNMENT_COLUMNS, rows)
    counts.is_asking = True
    counts.waits(Listed(c.job_pk, c.engine_id, c.priority, c.est_tokens, now) for c in calls)
    n_calls = Counter(call.query_pk for call in calls)
    by_n: dict[int, list[int]] = defaultdict(list)
    for query_pk in query_pks:
        by_n[n_calls[query_pk]].append(query_pk)
    for n, pks in by_n.items():
        _open(conn, pks, n_outstanding=n)


def _waiting(call: Iterable[Any], now: float) -> Record:
    row = list(call)
    row[_STATE], row[_ATTEMPT], row[_CREATED_AT] = t.WAITING, 0, now
    return tuple(row)


def _begin_anew(conn: Connection, query_pks: Sequence[int]) -> tuple[int, int]:
    """Forget calls and decisions; returns how many calls, and how many of them were answered."""
    of_them = among(t.assignment.c.query_pk, query_pks)
    counted = select(func.count(), func.count(t.assignment.c.response)).where(of_them)
    n_assignments, n_responses = conn.execute(counted).one()
    conn.execute(delete(t.assignment).where(of_them))
    conn.execute(delete(t.prompt).where(among(t.prompt.c.query_pk, query_pks)))
    forget(conn, query_pks)
    _open(conn, query_pks, stage=0, n_outstanding=0)
    return n_assignments, n_responses


def _open(conn: Connection, query_pks: Sequence[int], **values: int) -> None:
    conn.execute(
        update(t.query)
        .where(among(t.query.c.pk, query_pks))
        .values(state=t.OPEN, stepped_until=None, step_attempt=0, **values)
    )


def _run_again(conn: Connection, job_pk: int, opened: _Reopened, *, deadline_s: float | None) -> None:
    j = t.job.c
    conn.execute(
        update(t.job)
        .where(j.pk == job_pk)
        .values(
            state=JobState.RUNNING,
            finished_at=None,
            deadline_at=None if deadline_s is None else db_now() + deadline_s,
            n_retries=j.n_retries + 1,
            **{name: j[name] - n for name, n in opened._asdict().items()},
        )
    )
    conn.execute(insert(t.outbox).values(job_pk=job_pk))
