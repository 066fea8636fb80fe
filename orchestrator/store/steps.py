"""Queries move on: which are ready for their next step, and what that step leaves on the books."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, insert, select, update

from orchestrator.batching import estimated_tokens
from orchestrator.domain.answers import Decision
from orchestrator.domain.assignments import Ask, Call, Done, QueryState, Response, Step
from orchestrator.domain.queries import Query
from orchestrator.errors import StoreError
from orchestrator.store import tables as t
from orchestrator.store.codec import answer_to_json, checked_name, messages_to_json, to_json
from orchestrator.store.database import chunked, db_now, inline, insert_or_ignore
from orchestrator.store.submission import Counts, add_counts

CHUNK = 500

Taken = tuple[Any, QueryState, Step]
"""Locked query row, the state its step was computed from, the step."""


def ready(conn: Connection, *, limit: int, job_id: str | None) -> list[QueryState]:
    """Open queries that wait for no call, highest priority first, then in submission order."""
    return _states(conn, _ready_rows(conn, limit=limit, job_id=job_id, wanted=_queries()))


def take_ready(conn: Connection, *, limit: int, for_s: float, job_id: str | None) -> list[QueryState]:
    """As `ready`, without those that somebody took; they are the caller's for `for_s` seconds."""
    q = t.query.c
    free = _queries().where(_is_free()).with_for_update(of=t.query, skip_locked=True)
    rows = _ready_rows(conn, limit=limit, job_id=job_id, wanted=free)
    for chunk in chunked([row.pk for row in rows], CHUNK):
        conn.execute(update(t.query).where(q.pk.in_(chunk)).values(stepped_until=db_now() + for_s))
    return _states(conn, rows)


def is_ready(conn: Connection, job_id: str | None) -> bool:
    """Whether `take_ready` would find something."""
    free = _queries().where(_is_free())
    return bool(_ready_rows(conn, limit=1, job_id=job_id, wanted=free))


def _states(conn: Connection, rows: Sequence[Any]) -> list[QueryState]:
    responses = responses_of(conn, [row.pk for row in rows if row.stage])
    return [
        QueryState(
            id=row.pk,
            job_id=row.job_id,
            query=Query.model_validate_json(row.payload),
            stage=row.stage,
            decision=None if row.decision is None else Decision.model_validate_json(row.decision),
            responses=tuple(responses.get(row.pk, ())),
        )
        for row in rows
    ]


def responses_of(conn: Connection, query_pks: Sequence[int]) -> dict[int, list[Response]]:
    """Responses by query, in call order."""
    found: dict[int, list[Response]] = defaultdict(list)
    for chunk in chunked(query_pks, CHUNK):
        rows = conn.execute(
            select(t.assignment.c.query_pk, t.response.c.payload)
            .join(t.response, t.response.c.assignment_pk == t.assignment.c.pk)
            .where(t.assignment.c.query_pk.in_(chunk))
            .order_by(t.assignment.c.pk)
        )
        for query_pk, payload in rows:
            found[query_pk].append(Response.model_validate_json(payload))
    return found


def advance(conn: Connection, steps: Sequence[tuple[QueryState, Step]], engine_of: Mapping[str, str]) -> int:
    """Apply steps to the queries that still are where the step was computed; returns how many."""
    counts = Counts()
    n = sum(_advance_chunk(conn, chunk, engine_of, counts) for chunk in chunked(steps, CHUNK))
    add_counts(conn, counts)
    return n


def _queries() -> Select[Any]:
    q = t.query.c
    return select(q.pk, q.payload, q.stage, q.decision, t.job.c.id.label("job_id")).join(t.job)


def _is_free() -> ColumnElement[bool]:
    until = t.query.c.stepped_until
    return until.is_(None) | (until < db_now())


def _ready_rows(conn: Connection, *, limit: int, job_id: str | None, wanted: Select[Any]) -> list[Any]:
    """The top priority is read in index order; the lower ones are sorted only when there is room."""
    q = t.query.c
    if job_id is not None:
        wanted = wanted.where(t.job.c.id == job_id)
    wanted = wanted.where(q.state == inline(t.OPEN), q.n_outstanding == inline(0))
    top = conn.execute(
        select(func.max(q.priority)).where(q.state == inline(t.OPEN), q.n_outstanding == inline(0))
    ).scalar()
    if top is None:
        return []
    rows = list(conn.execute(wanted.where(q.priority == top).order_by(q.pk).limit(limit)))
    if len(rows) < limit:
        rest = wanted.where(q.priority < top).order_by(q.priority.desc(), q.pk)
        rows += conn.execute(rest.limit(limit - len(rows)))
    return rows


def _advance_chunk(
    conn: Connection,
    steps: Sequence[tuple[QueryState, Step]],
    engine_of: Mapping[str, str],
    counts: Counts,
) -> int:
    waiting = {row.pk: row for row in conn.execute(_locked_open([state.id for state, _ in steps]))}
    taken: list[Taken] = []
    for state, step in steps:
        row = waiting.pop(state.id, None)
        if row is not None and row.stage == state.stage:
            taken.append((row, state, step))
    _ask(conn, [(row, step) for row, _, step in taken if isinstance(step, Ask)], engine_of, counts)
    _finish(conn, [(row, state, step) for row, state, step in taken if isinstance(step, Done)], counts)
    return len(taken)


def _locked_open(query_pks: Sequence[int]) -> Select[Any]:
    q = t.query.c
    return (
        select(q.pk, q.job_pk, q.priority, q.stage)
        .where(q.pk.in_(query_pks), q.state == t.OPEN, q.n_outstanding == 0)
        .order_by(q.pk)
        .with_for_update()
    )


def _ask(conn: Connection, asks: list[tuple[Any, Ask]], engine_of: Mapping[str, str], counts: Counts) -> None:
    if not asks:
        return
    prompts: list[dict[str, object]] = []
    assignments: list[dict[str, object]] = []
    for row, ask in asks:
        texts = list(dict.fromkeys(messages_to_json(call.messages) for call in ask.calls))
        prompts += [
            {"query_pk": row.pk, "stage": row.stage, "ix": ix, "messages": text}
            for ix, text in enumerate(texts)
        ]
        assignments += [_assignment_row(row, call, engine_of, texts) for call in ask.calls]
        counts[row.job_pk, "n_assignments"] += len(ask.calls)
    conn.execute(insert(t.prompt), prompts)
    conn.execute(insert(t.assignment).values(created_at=db_now()), assignments)
    conn.execute(
        insert_or_ignore(conn, t.job_engine),
        [
            {"job_pk": job_pk, "engine_id": engine_id}
            for job_pk, engine_id in sorted({(a["job_pk"], a["engine_id"]) for a in assignments})
        ],
    )
    _move_on(conn, asks)


def _assignment_row(
    row: Any, call: Call, engine_of: Mapping[str, str], texts: Sequence[str]
) -> dict[str, object]:
    if call.expert_id not in engine_of:
        raise StoreError(f"expert '{call.expert_id}' has no engine.", remedy="Is it still in the pool?")
    return {
        "query_pk": row.pk,
        "job_pk": row.job_pk,
        "stage": row.stage,
        "expert_id": checked_name("expert", call.expert_id),
        "sample_ix": call.sample_ix,
        "engine_id": checked_name("engine", engine_of[call.expert_id]),
        "role": call.role.value,
        "prompt_ix": texts.index(messages_to_json(call.messages)),
        "sampling": call.sampling.model_dump_json(),
        "est_tokens": estimated_tokens(call),
        "priority": row.priority,
        "state": t.WAITING,
        "attempt": 0,
        "lease_owner": None,
        "lease_expires_at": None,
    }


def _move_on(conn: Connection, asks: Sequence[tuple[Any, Ask]]) -> None:
    conn.execute(
        update(t.query)
        .where(t.query.c.pk == bindparam("row_pk"))
        .values(
            stage=t.query.c.stage + 1,
            stepped_until=None,
            n_outstanding=bindparam("n"),
            decision=func.coalesce(bindparam("given", type_=t.query.c.decision.type), t.query.c.decision),
        ),
        [
            {
                "row_pk": row.pk,
                "n": len(ask.calls),
                "given": None if ask.decision is None else to_json(ask.decision),
            }
            for row, ask in asks
        ],
    )


def _finish(conn: Connection, finished: list[tuple[Any, QueryState, Done]], counts: Counts) -> None:
    if not finished:
        return
    answers = []
    by_state: dict[str, list[int]] = {t.COMPLETED: [], t.FAILED: []}
    for row, state, done in finished:
        payload, is_queries = answer_to_json(done.answer, state.decision)
        answers.append({"query_pk": row.pk, "payload": payload, "decision_is_queries": is_queries})
        outcome = t.COMPLETED if done.answer.error_code is None else t.FAILED
        by_state[outcome].append(row.pk)
        counts[row.job_pk, f"n_{outcome}"] += 1
    conn.execute(insert(t.answer), answers)
    for outcome, pks in by_state.items():
        if pks:
            conn.execute(
                update(t.query).where(t.query.c.pk.in_(pks)).values(state=outcome, stepped_until=None)
            )
