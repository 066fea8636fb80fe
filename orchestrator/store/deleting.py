"""Ended jobs leave for good: questions, prompts, responses, answers and what was said of them.

A deletion begins with the job's name: from then on nobody finds it, and its id is free. Its rows follow in
transactions of bounded size, whoever takes them; a deletion that broke off is finished by the next upkeep.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select, delete, exists, func, select, update

from orchestrator.domain.assignments import UNDER_WAY
from orchestrator.domain.keys import nothing_found
from orchestrator.errors import JobRunningError
from orchestrator.store import keyed
from orchestrator.store import tables as t
from orchestrator.store.bulk import among
from orchestrator.store.codec import is_name, shown
from orchestrator.store.database import db_now, inline
from orchestrator.store.departed import leave
from orchestrator.store.key_tables import query_spending

DAY_S = 86_400.0
_KEPT_LOADS_S = 7 * DAY_S
"""Loads are looked back at for a day; jobs that ended are shown theirs."""

_ROWS = (
    *(t.answer.c.query_pk, t.assignment.c.query_pk, t.prompt.c.query_pk, query_spending.c.query_pk),
    t.query.c.pk,
)
"""Columns by which rows go with their query; the query itself last."""


def begin(conn: Connection, job_id: str) -> int:
    """Take a job's name, and what is known by that name; returns its number for `purge`.

    Raises:
        NotFoundError: no such job.
        JobRunningError: it has not ended.
    """
    wanted = select(t.job.c.pk, t.job.c.state, t.job.c.owner).where(t.job.c.id == job_id).with_for_update()
    row = conn.execute(wanted).first() if is_name(job_id) else None
    if row is None:
        raise nothing_found("job", shown(job_id))
    if row.state in UNDER_WAY:
        raise JobRunningError(f"job '{job_id}' still runs.", param="id", remedy="Cancel it first.")
    leave(conn, t.job.name, job_id, owner=row.owner, place=row.pk)
    blank = {"id": f"deleted-{uuid.uuid4().hex}", "payload": "{}", "content_hash": "", "state": t.DELETED}
    nobodys = {"owner": "", "session": ""}
    conn.execute(update(t.job).where(t.job.c.pk == row.pk).values(**blank, **nobodys, finished_at=None))
    conn.execute(delete(t.feedback).where(t.feedback.c.job_id == job_id))
    conn.execute(delete(t.exchange).where(t.exchange.c.job_id == job_id))
    conn.execute(delete(t.job_engine).where(t.job_engine.c.job_pk == row.pk))
    conn.execute(delete(t.outbox).where(t.outbox.c.job_pk == row.pk))
    keyed.forget(conn, job_id)
    return int(row.pk)


def begin_old(conn: Connection, days: Mapping[str, float], *, limit: int) -> int:
    """Begin to delete up to `limit` jobs that ended longer ago than their kind is kept; returns how many."""
    j, n = t.job.c, 0
    for kind, kept_days in sorted(days.items()):
        old = select(j.id).where(j.kind == kind, j.finished_at < db_now() - kept_days * DAY_S)
        oldest = old.order_by(j.finished_at).limit(limit - n).with_for_update(skip_locked=True)
        for job_id in conn.execute(oldest).scalars().all():
            begin(conn, job_id)
            n += 1
    return n


def purge(conn: Connection, job_pk: int | None, *, limit: int) -> bool:
    """Delete the rows of up to `limit` queries of a deleted job (None = whichever is first); whether there
    may be more."""
    if job_pk is None:
        deleted = select(t.job.c.pk).where(t.job.c.state == inline(t.DELETED))
        job_pk = conn.execute(deleted.order_by(t.job.c.pk).limit(1)).scalar()
        if job_pk is None:
            return False
    pks = list(conn.execute(_some(job_pk, limit).with_for_update()).scalars())
    for column in _ROWS:
        conn.execute(delete(column.table).where(among(column, pks)))
    if conn.execute(_some(job_pk, 1)).first() is not None:
        return True
    gone = delete(t.job).where(t.job.c.pk == job_pk, t.job.c.state == inline(t.DELETED))
    return bool(conn.execute(gone).rowcount)


def drop_derived(conn: Connection) -> None:
    """Drop what nobody asks for any more: judgements and exchanges whose job is gone, loads from
    before every job that is kept, cards that newer ones replace."""
    conn.execute(delete(t.feedback).where(~exists().where(t.job.c.id == t.feedback.c.job_id)))
    conn.execute(delete(t.exchange).where(~exists().where(t.job.c.id == t.exchange.c.job_id)))
    oldest = func.coalesce(select(func.min(t.job.c.created_at)).scalar_subquery(), db_now())
    load = t.engine_load.c
    conn.execute(delete(t.engine_load).where(load.at < oldest, load.at < db_now() - _KEPT_LOADS_S))
    newest = select(func.max(t.card.c.pk)).group_by(t.card.c.expert_id, t.card.c.profile_hash)
    conn.execute(delete(t.card).where(t.card.c.pk.not_in(newest)))


def _some(job_pk: int, limit: int) -> Select[Any]:
    return select(t.query.c.pk).where(t.query.c.job_pk == job_pk).order_by(t.query.c.pk).limit(limit)
