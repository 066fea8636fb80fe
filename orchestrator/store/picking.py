# ruff: noqa: S608  (statements are put together from conditions of tables, never from values)
"""Fair picks: some rows of each of several jobs, in one statement where the database can."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Integer, Select, select, text, true

from orchestrator.store import tables as t

_GIVEN = text(
    "SELECT * FROM unnest(CAST(:jobs AS BIGINT[]), CAST(:ns AS INTEGER[])) AS g (job_pk, n)"
).columns(job_pk=BigInteger, n=Integer)

_READY_JOBS = text(
    "WITH RECURSIVE ready(job_pk, n) AS ("
    " SELECT min(job_pk), 1 FROM query"
    f"  WHERE {t.READY} AND priority = :priority AND job_pk > :after"
    " UNION ALL"
    f" SELECT (SELECT min(q.job_pk) FROM query AS q WHERE {t.READY}"
    "   AND q.priority = :priority AND q.job_pk > ready.job_pk), ready.n + 1"
    "  FROM ready WHERE ready.job_pk IS NOT NULL AND ready.n < :most"
    ") SELECT ready.job_pk, job.state FROM ready JOIN job ON job.pk = ready.job_pk ORDER BY ready.job_pk"
)
"""Jobs with ready queries of one priority, looked up job by job, not row by row."""


def ready_jobs(conn: Connection, priority: int, *, after: int, most: int) -> Sequence[Any]:
    """Jobs with ready queries of one priority, with their states; in the order of their numbers.

    Args:
        after: number of a job: it and those before are passed over; 0 = none.
        most: jobs at most, >= 1.
    """
    return conn.execute(_READY_JOBS, {"priority": priority, "after": after, "most": most}).all()


def of_each_job(
    conn: Connection,
    wanted: Select[Any],
    *,
    job_pk: ColumnElement[int],
    pk: ColumnElement[int],
    n_of: Mapping[int, int],
) -> list[Any]:
    """The first `n_of[job]` rows of each job that `wanted` finds, by `pk`."""
    first = wanted.order_by(pk)
    if len(n_of) == 1 or conn.dialect.name == "sqlite":
        picks = (first.where(job_pk == job).limit(n) for job, n in n_of.items())
        return [row for pick in picks for row in conn.execute(pick).all()]
    given = _GIVEN.subquery("given")
    picked = first.where(job_pk == given.c.job_pk).limit(given.c.n).lateral("picked")
    jobs, ns = ("{" + ",".join(map(str, values)) + "}" for values in (n_of.keys(), n_of.values()))
    both = select(*picked.c).select_from(given.join(picked, true()))
    return list(conn.execute(both, {"jobs": jobs, "ns": ns}).all())
