"""Calls of a question that is being answered, as they stand on the books."""

from collections.abc import Mapping
from typing import Literal

from sqlalchemy import Connection, func, select

from orchestrator.domain.devices import LIVE_S
from orchestrator.domain.stages import CallProgress
from orchestrator.store import tables as t
from orchestrator.store.devices import seen
from orchestrator.store.submission import job_pk_of

_STATES: Mapping[str, Literal["waiting", "running", "done", "failed"]] = {
    t.WAITING: "waiting",
    t.LEASED: "running",
    t.DONE: "done",
    t.FAILED: "failed",
    t.CANCELLED: "failed",
}
MOST_CALLS = 100
MOST_COUNTED = 1000
"""Calls ahead of one that are counted."""


def call_progress(conn: Connection, job_id: str) -> list[CallProgress]:
    """Calls of a job so far, the first hundred, in the order in which they were asked for.

    Raises:
        NotFoundError: no such job.
    """
    a = t.assignment.c
    columns = (a.pk, a.expert_id, a.role, a.stage, a.sample_ix, a.engine_id, a.state, a.priority)
    mine = select(*columns).where(a.job_pk == job_pk_of(conn, job_id)).order_by(a.pk).limit(MOST_CALLS)
    rows = conn.execute(mine).all()
    waits = any(row.state == t.WAITING for row in rows)
    reports = seen(conn, LIVE_S) if waits else []
    loading = {report.engine_id for report in reports if report.state == "loading"}
    return [
        CallProgress(
            expert_id=row.expert_id,
            role=row.role,
            stage=row.stage,
            sample_ix=row.sample_ix,
            number=row.pk,
            state=_STATES[row.state],
            ahead=_ahead(conn, row.engine_id, row.priority, row.pk) if row.state == t.WAITING else 0,
            loading=row.state == t.WAITING and row.engine_id in loading,
        )
        for row in rows
    ]


def _ahead(conn: Connection, engine_id: str, priority: int, pk: int) -> int:
    a = t.assignment.c
    before = (
        (a.engine_id == engine_id)
        & (a.state == t.WAITING)
        & ((a.priority > priority) | ((a.priority == priority) & (a.pk < pk)))
    )
    some = select(a.pk).where(before).limit(MOST_COUNTED).subquery()
    return conn.execute(select(func.count()).select_from(some)).scalar_one()
