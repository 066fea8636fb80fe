"""Questions that were answered before, under the same content and configuration, and are not asked again."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from orchestrator.domain.answers import Answer
from orchestrator.store import tables as t
from orchestrator.store.bulk import Record, insert_rows
from orchestrator.store.codec import answer_from_json, answer_to_json
from orchestrator.store.database import inline
from orchestrator.store.steps import ANSWER_COLUMNS, decision_of_query

NOTE = "reused: answered before, under the same content and configuration"


def known_answers(conn: Connection, keys: Sequence[str]) -> dict[str, Answer]:
    """Answers by the reuse key of their queries, the latest of each, as they are told again: without calls.
    One that had to do without somebody is not reused."""
    q = t.query.c
    if not keys:
        return {}
    answered = (
        select(func.max(q.pk).label("pk"))
        .join(t.job, t.job.c.pk == q.job_pk)
        .where(q.reuse_key.in_(keys), q.state == inline(t.COMPLETED), t.job.c.state != inline(t.DELETED))
        .group_by(q.reuse_key)
        .subquery()
    )
    wanted = (
        select(
            q.reuse_key, t.answer.c.payload, t.answer.c.decision_is_queries, decision_of_query().label("d")
        )
        .join(answered, answered.c.pk == q.pk)
        .join(t.answer, t.answer.c.query_pk == q.pk)
    )
    found = {row.reuse_key: _answer(row) for row in conn.execute(wanted)}
    return {key: _told_again(answer) for key, answer in found.items() if not answer.degraded}


def store_answers(conn: Connection, job_pk: int, answers: Mapping[int, Answer]) -> None:
    """Answers of queries of a job, by their place in it; the queries are completed by now."""
    q = t.query.c
    mine = select(q.pk, q.ix).where(q.job_pk == job_pk, q.ix.in_(list(answers)))
    rows: list[Record] = []
    for row in conn.execute(mine).all():
        payload, is_queries = answer_to_json(answers[row.ix], None)
        rows.append((row.pk, is_queries, payload))
    insert_rows(conn, t.answer, ANSWER_COLUMNS, rows)


def _answer(row: Any) -> Answer:
    return answer_from_json(row.payload, decision=row.d if row.decision_is_queries else None)


def _told_again(answer: Answer) -> Answer:
    notes = answer.notes if NOTE in answer.notes else (*answer.notes, NOTE)
    return answer.replaced(notes=notes, usage_by_role={}, n_calls=0)
