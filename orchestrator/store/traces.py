"""Traces, as far as the books know of them."""

import json
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, func, select

from orchestrator.store import tables as t
from orchestrator.store.bulk import among
from orchestrator.store.codec import is_name
from orchestrator.store.database import Database, chunked

PAGE = 500


class SqlTraceReader:
    """`ports.telemetry.TraceReader` over the database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def traceparents(self, job_ids: Collection[str]) -> dict[str, str]:
        """See `ports.telemetry`."""
        found: dict[str, str] = {}
        for names in chunked(filter(is_name, job_ids), PAGE):
            wanted = select(t.job.c.id, t.job.c.payload).where(t.job.c.id.in_(names))
            for job_id, payload in self._db.fetch(partial(_rows, wanted)):
                if parent := json.loads(payload).get("traceparent"):
                    found[job_id] = parent
        return found

    def asked_at(self, query_ids: Collection[int]) -> dict[int, float]:
        """See `ports.telemetry`."""
        return self._db.fetch(lambda conn: _asked_at(conn, query_ids))


def _rows(wanted: Select[Any], conn: Connection) -> Sequence[Any]:
    return conn.execute(wanted).all()


def _asked_at(conn: Connection, query_ids: Collection[int]) -> dict[int, float]:
    a = t.assignment.c
    latest = (
        select(a.query_pk, func.max(a.created_at)).where(among(a.query_pk, query_ids)).group_by(a.query_pk)
    )
    return {row[0]: row[1] for row in conn.execute(latest)}
