"""Counters against the rows they count: put right, share by share, where they should differ.

Every transaction keeps them right. What makes up for a program that did not (an older one that still runs, a
statement by hand): a claim that finds nothing where something should wait counts again, and so does the sweep
for work that no share knows of.
"""

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import Connection, func, select, text, update

from orchestrator.domain.assignments import JobState
from orchestrator.store import tables as t
from orchestrator.store.bulk import among
from orchestrator.store.database import inline
from orchestrator.store.tally import ShareKey, WorkKey, move_work, open_shares, work_key

PAIRS = 2000
"""Pairs of engine and job that one audit looks at."""

_UNKNOWN = text(
    "WITH RECURSIVE pair(engine_id, job_pk, priority, n) AS ("
    " SELECT engine_id, job_pk, priority, 1 FROM (SELECT engine_id, job_pk, priority FROM assignment"
    "  WHERE state = 'waiting' AND attempt = 0 ORDER BY engine_id, job_pk LIMIT 1) AS first"
    " UNION ALL"
    " SELECT a.engine_id, a.job_pk, a.priority, pair.n + 1 FROM pair, assignment AS a"
    " WHERE pair.n < :most AND a.pk ="
    "  (SELECT following.pk FROM assignment AS following"
    "   WHERE following.state = 'waiting' AND following.attempt = 0"
    "   AND (following.engine_id, following.job_pk) > (pair.engine_id, pair.job_pk)"
    "   ORDER BY following.engine_id, following.job_pk, following.pk LIMIT 1)"
    ") SELECT pair.job_pk, pair.engine_id, pair.priority FROM pair JOIN job ON job.pk = pair.job_pk"
    " LEFT JOIN share AS e ON e.job_pk = pair.job_pk AND e.engine_id = pair.engine_id"
    " WHERE job.state = 'running' AND (e.n_waiting IS NULL OR e.n_waiting <= e.n_retried)"
)
"""Jobs and engines of fresh work that no share knows of; looked up pair by pair, not row by row."""


def mend(conn: Connection) -> None:
    """Count again what waits unknown to its share, or has none."""
    found = conn.execute(_UNKNOWN, {"most": PAIRS}).all()
    j = t.job.c
    locked = select(j.pk).where(
        among(j.pk, {row.job_pk for row in found}), j.state == inline(JobState.RUNNING.value)
    )
    running = set(conn.execute(locked.order_by(j.pk).with_for_update(key_share=True)).scalars())
    unknown = sorted((row.job_pk, row.engine_id, row.priority) for row in found if row.job_pk in running)
    open_shares(conn, unknown)
    recount(conn, [(job_pk, engine_id) for job_pk, engine_id, _ in unknown])


def recount(conn: Connection, keys: Iterable[ShareKey]) -> None:
    """Count the rows of shares that exist, under their lock: who changed rows and has not committed yet has
    not counted them either."""
    e, work = t.share.c, defaultdict[WorkKey, list[int]](lambda: [0, 0, 0, 0])
    for job_pk, engine_id in sorted(keys):
        mine = (e.job_pk == job_pk) & (e.engine_id == engine_id)
        locked = select(e.priority, e.n_waiting, e.waiting_tokens).where(mine)
        share = conn.execute(locked.with_for_update(key_share=True)).first()
        if share is None:
            continue
        n_waiting, n_retried, tokens = _counted(conn, job_pk, engine_id)
        values = {"n_waiting": n_waiting, "n_retried": n_retried, "waiting_tokens": tokens}
        conn.execute(update(t.share).where(mine).values(values))
        sums = work[work_key(job_pk, engine_id, share.priority)]
        sums[0] += n_waiting - share.n_waiting
        sums[1] += tokens - share.waiting_tokens
    move_work(conn, work)


def _counted(conn: Connection, job_pk: int, engine_id: str) -> tuple[int, int, int]:
    a = t.assignment.c
    mine = (a.job_pk == job_pk) & (a.engine_id == engine_id) & (a.state == inline(t.WAITING))
    sums = select(func.count(), func.coalesce(func.sum(a.est_tokens), 0))
    fresh, fresh_tokens = conn.execute(sums.where(mine, a.attempt == inline(0))).one()
    retried, retried_tokens = conn.execute(sums.where(mine, a.attempt > inline(0))).one()
    return fresh + retried, retried, int(fresh_tokens) + int(retried_tokens)
