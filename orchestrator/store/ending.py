"""Jobs end early: cancelled, or past their deadline.

First a job is marked and its shares are closed: from then on nothing of it is claimed or stepped. Then its
open queries are ended, some at a time, each time in a transaction of its own, by whoever comes by.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import JobState
from orchestrator.domain.usage import UsageSums
from orchestrator.store import tables as t
from orchestrator.store.bulk import among, insert_rows
from orchestrator.store.codec import to_json
from orchestrator.store.database import db_now, inline
from orchestrator.store.spending import payers, settle
from orchestrator.store.steps import ANSWER_COLUMNS
from orchestrator.store.tally import Counts, add_counts, close_if_finished, close_shares, in_order

CHUNK = 500
"""Queries that are ended in one transaction."""

AT_ONCE = 250
"""Open queries of a job that is ended before its cancellation returns; larger ones are only marked then."""

JOBS_AT_ONCE = 100
"""Jobs that are marked in one transaction."""

_NOTES = {
    JobState.CANCELLING: Answer(
        text="", error_code="cancelled", error="The job was cancelled before this was answered."
    ),
    JobState.EXPIRING: Answer(
        text="",
        error_code="batch_expired",
        error="This request could not be executed before the completion window expired.",
    ),
}

_ENDED: Mapping[JobState, Callable[[int], UsageSums]] = {
    JobState.CANCELLING: lambda n: UsageSums(n_cancelled=n),
    JobState.EXPIRING: lambda n: UsageSums(n_expired=n),
}


def cancel(conn: Connection, job_pk: int) -> bool:
    """Mark a job; one that has ended, or is about to, is left alone. True if it is small."""
    _mark(conn, [job_pk], JobState.CANCELLING)
    j = t.job.c
    n_open = select(j.n_total - j.n_completed - j.n_failed).where(j.pk == job_pk)
    return bool(conn.execute(n_open).scalar_one() <= AT_ONCE)


def expire(conn: Connection) -> int:
    """Mark jobs that are past their deadline, up to `JOBS_AT_ONCE`; returns how many."""
    j = t.job.c
    overdue = select(j.pk).where(j.state == inline(JobState.RUNNING.value), j.deadline_at < db_now())
    pks = conn.execute(overdue.order_by(j.deadline_at).limit(JOBS_AT_ONCE)).scalars()
    return _mark(conn, sorted(pks), JobState.EXPIRING)


def ending(conn: Connection) -> list[int]:
    """Some of the jobs that are marked, those of cancelling people first."""
    found: list[int] = []
    for state in _NOTES:
        marked = select(t.job.c.pk).where(t.job.c.state == inline(state.value)).order_by(t.job.c.pk)
        found += conn.execute(marked.limit(JOBS_AT_ONCE)).scalars()
    return found


def end_some(
    conn: Connection, job_pk: int, *, after: int = -1, limit: int = CHUNK, patient: bool = False
) -> int | None:
    """End up to `limit` of a marked job's open queries, those after a line of it; the last line that was
    looked at, None = there are no more. Queries that somebody holds are left for the next time; `patient`:
    they are waited for."""
    state = conn.execute(select(t.job.c.state).where(t.job.c.pk == job_pk)).scalar()
    if state not in _NOTES:
        return None
    q = t.query.c
    of_job = select(q.pk, q.ix).where(q.job_pk == job_pk, q.ix > after, q.state == inline(t.OPEN))
    rows = conn.execute(
        of_job.order_by(q.ix).limit(limit).with_for_update(key_share=True, skip_locked=not patient)
    ).all()
    if not rows:
        close_if_finished(conn, job_pk)
        return None
    _end(conn, job_pk, [row.pk for row in rows], JobState(state))
    return int(rows[-1].ix)


def _mark(conn: Connection, job_pks: list[int], state: JobState) -> int:
    j = t.job.c
    running = (
        select(j.pk)
        .where(among(j.pk, job_pks), j.state == inline(JobState.RUNNING.value))
        .order_by(j.pk)
        .with_for_update(key_share=True)
    )
    pks = list(conn.execute(running).scalars())
    if pks:
        conn.execute(update(t.job).where(among(j.pk, pks)).values(state=state))
        close_shares(conn, pks)
    return len(pks)


def _end(conn: Connection, job_pk: int, query_pks: list[int], state: JobState) -> None:
    """Queries that are locked fail with the state's note; their assignments leave the books."""
    counts = Counts()
    settle(conn, dict.fromkeys(query_pks, job_pk), payers(conn, [job_pk]))
    a = t.assignment.c
    open_calls = (
        select(a.pk, a.job_pk, a.state, a.engine_id, a.priority, a.attempt, a.est_tokens, a.created_at)
        .where(among(a.query_pk, query_pks), a.state.in_([t.WAITING, t.LEASED]))
        .order_by(*in_order())
        .with_for_update()
    )
    calls: list[Any] = list(conn.execute(open_calls))
    gone = {"state": t.CANCELLED, "lease_owner": None, "lease_expires_at": None}
    conn.execute(update(t.assignment).where(among(a.pk, [call.pk for call in calls])).values(gone))
    counts.gone(calls)
    text = to_json(_NOTES[state])
    insert_rows(conn, t.answer, ANSWER_COLUMNS, [(pk, False, text) for pk in query_pks])
    failed = {"state": t.FAILED, "stepped_until": None}
    conn.execute(update(t.query).where(among(t.query.c.pk, query_pks)).values(failed))
    counts[job_pk, "n_failed"] += len(query_pks)
    counts.spent.ended(job_pk, _ENDED[state](len(query_pks)))
    add_counts(conn, counts)
