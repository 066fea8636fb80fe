"""The memory: `ports.MemoryReader` over the same database."""

from typing import Any

from sqlalchemy import Connection, Select, bindparam, select

from orchestrator.domain.answers import as_answered
from orchestrator.domain.feedback import Feedback
from orchestrator.domain.queries import Query
from orchestrator.ports.memory import Remembered
from orchestrator.store import tables as t
from orchestrator.store.codec import answer_from_json
from orchestrator.store.database import Database, chunked, db_now, inline

KINDS = ("ask", "batch")
"""Kinds of jobs whose questions users asked: profiles, shadows and dry runs are others."""
MOST_JOBS = 2000
"""Jobs that are looked through, so that a look stays cheap however much an owner asked."""
CHUNK = 500
DAY_S = 86_400


class SqlMemory:
    """Reads; what was asked stays where it is, and goes with its job."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def latest_answered(self, owner: str, *, limit: int) -> list[Remembered]:
        return self._db.fetch(lambda conn: _latest(conn, owner, limit))


def _latest(conn: Connection, owner: str, limit: int) -> list[Remembered]:
    said = {"most": limit} | ({"owner": owner} if owner else {})
    rows = conn.execute(_answered(owner), said).all()
    scores = _scores(conn, {row.job_id for row in rows})
    now = float(conn.execute(select(db_now())).scalar_one())
    found = []
    for row in rows:
        answer = answer_from_json(row.payload, decision=None)
        if answer.error_code is None:
            score = scores.get((row.job_id, row.custom_id))
            age_days = max(0.0, now - (row.finished_at or now)) / DAY_S
            asked = as_answered(Query.model_validate_json(row.asked), answer)
            found.append(Remembered(asked, answer, score, age_days))
    return found


def _answered(owner: str) -> Select[Any]:
    """Answered queries of an owner's latest jobs, the newest first."""
    j, q = t.job.c, t.query.c
    # As the index of owners spells it; what was asked without a key has none.
    whose = (j.owner == bindparam("owner"), j.owner != inline("")) if owner else (j.owner == inline(""),)
    jobs = (
        select(j.pk, j.id, j.finished_at)
        .where(*whose, j.kind.in_(KINDS), j.state != inline(t.DELETED))
        .order_by(j.pk.desc())
        .limit(inline(MOST_JOBS))
        .subquery()
    )
    return (
        select(
            jobs.c.id.label("job_id"),
            jobs.c.finished_at,
            q.custom_id,
            q.payload.label("asked"),
            t.answer.c.payload,
        )
        .join(jobs, jobs.c.pk == q.job_pk)
        .join(t.answer, t.answer.c.query_pk == q.pk)
        .where(q.state == inline(t.COMPLETED))
        .order_by(q.pk.desc())
        .limit(bindparam("most"))
    )


def _scores(conn: Connection, job_ids: set[str]) -> dict[tuple[str, str], float]:
    """Mean judgement of each judged answer, by job and query."""
    f = t.feedback.c
    given: dict[tuple[str, str], list[float]] = {}
    for some in chunked(sorted(job_ids), CHUNK):
        for payload in conn.execute(select(f.payload).where(f.job_id.in_(some))).scalars():
            judged = Feedback.model_validate_json(payload)
            given.setdefault((judged.job_id, judged.query_id), []).append(judged.score)
    return {key: sum(scores) / len(scores) for key, scores in given.items()}
