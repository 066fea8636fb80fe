"""The backlog: what waits and what is leased, by engine, from counters. No rows of work are looked at."""

import math
from functools import cache
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Select, case, func, select

from orchestrator.domain.assignments import BATCH, EngineBacklog
from orchestrator.store import devices
from orchestrator.store import tables as t
from orchestrator.store.database import db_now, inline

OLDEST_JOBS = 50
"""Of the jobs that wait for an engine, so many are asked since when: those submitted first."""


@cache
def _counted() -> Select[Any]:
    w = t.engine_work.c
    sums = {name: func.sum(w[name]) for name in ("n_waiting", "waiting_tokens", "n_leased", "leased_tokens")}
    top = func.max(case((w.n_waiting > 0, w.priority))).label("top_priority")
    wait_s = (db_now() - _oldest()).label("oldest_wait_s")
    counted = select(w.engine_id, top, wait_s, *(total.label(name) for name, total in sums.items()))
    return counted.group_by(w.engine_id).order_by(w.engine_id)


def backlog(conn: Connection, *, owner: str) -> list[EngineBacklog]:
    """See `ports.jobs.WaitingReader`; engines without open work are left out."""
    rows = conn.execute(_counted()).all()
    elsewhere, unserved = devices.elsewhere(conn, owner), devices.unserved_s(conn)
    return [
        _item(row).model_copy(
            update=_seen(elsewhere.get(row.engine_id), unserved.get(row.engine_id, math.inf))
        )
        for row in rows
        if row.n_waiting > 0 or row.n_leased > 0
    ]


def _item(row: Any) -> EngineBacklog:
    return EngineBacklog(
        engine_id=row.engine_id,
        n_waiting=max(0, row.n_waiting),
        est_tokens=max(0, int(row.waiting_tokens)),
        oldest_wait_s=max(0.0, row.oldest_wait_s or 0.0),
        top_priority=BATCH if row.top_priority is None else row.top_priority,
        n_leased=max(0, row.n_leased),
        leased_tokens=max(0, int(row.leased_tokens)),
    )


def _seen(there: devices.Elsewhere | None, unserved_s: float) -> dict[str, object]:
    n_devices, loading_s = there or devices.Elsewhere()
    return {"n_devices_elsewhere": n_devices, "loading_s": loading_s, "unserved_s": unserved_s}


def _oldest() -> ScalarSelect[float]:
    """The time at which the oldest waiting assignment of the engine was put on the books."""
    s = t.share.c
    oldest = (
        select(s.since)
        .where(s.engine_id == t.engine_work.c.engine_id, s.n_waiting > inline(0))
        .order_by(s.job_pk)
        .limit(OLDEST_JOBS)
        .correlate(t.engine_work)
        .subquery("oldest")
    )
    return select(func.min(oldest.c.since)).scalar_subquery()
