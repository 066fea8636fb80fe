"""Queries move on: which are ready for their next step, and what that step leaves on the books."""

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select, func, select, update

from orchestrator.batching import estimated_tokens
from orchestrator.domain.answers import Answer, Decision
from orchestrator.domain.assignments import (
    BACKGROUND,
    INTERACTIVE,
    Ask,
    Call,
    CallRole,
    Done,
    JobState,
    QueryState,
    Response,
    Step,
)
from orchestrator.domain.queries import Query
from orchestrator.domain.spending import NO_COSTS, QUOTA, Costs
from orchestrator.errors import StoreError
from orchestrator.ports.jobs import AnsweredCall
from orchestrator.store import tables as t
from orchestrator.store.bulk import Record, among, insert_rows
from orchestrator.store.codec import (
    answer_to_json,
    checked_name,
    messages_from_json,
    messages_to_json,
    sampling_from_json,
    to_json,
)
from orchestrator.store.database import chunked, db_now, inline
from orchestrator.store.picking import of_each_job, ready_jobs
from orchestrator.store.spending import hold, lock, payers, settle
from orchestrator.store.tally import Counts, Listed, add_counts

CHUNK = 2000

LONGEST_S = 600.0
"""A mark that ends later was made by a clock that has been set back since."""

JOBS_AT_ONCE, FEW_JOBS = 64, 16
"""Batches that are looked for together, and that steps are taken of together, at least."""

PROMPT_COLUMNS = ("query_pk", "stage", "ix", "messages", "decision")
ASSIGNMENT_COLUMNS = (
    *("query_pk", "job_pk", "stage", "expert_id", "sample_ix", "engine_id", "role", "prompt_ix", "sampling"),
    *("est_tokens", "priority", "state", "attempt", "created_at"),
)
EST_TOKENS = ASSIGNMENT_COLUMNS.index("est_tokens")
ANSWER_COLUMNS = ("query_pk", "decision_is_queries", "payload")

Taken = tuple[Any, QueryState, Step]
"""Locked query row, the state its step was computed from, the step."""

_LOCKED = (
    select(
        *(t.query.c.pk, t.query.c.job_pk, t.query.c.priority, t.query.c.stage),
        *(t.query.c.state, t.query.c.n_outstanding),
    )
    .where(among(t.query.c.pk, "pks"))
    .order_by(t.query.c.pk)
    .with_for_update()
)
# Sorted here, not by the database: before it has statistics PostgreSQL would walk an index in that order.
_RESPONSES = select(t.assignment.c.pk, t.assignment.c.query_pk, t.assignment.c.response).where(
    among(t.assignment.c.query_pk, "pks"), t.assignment.c.response.is_not(None)
)
_CALLS = (
    select(
        *(t.assignment.c.pk, t.assignment.c.query_pk, t.assignment.c.expert_id, t.assignment.c.role),
        *(t.assignment.c.sampling, t.assignment.c.sample_ix, t.prompt.c.messages, t.assignment.c.response),
    )
    .join(
        t.prompt,
        (t.prompt.c.query_pk == t.assignment.c.query_pk)
        & (t.prompt.c.stage == t.assignment.c.stage)
        & (t.prompt.c.ix == t.assignment.c.prompt_ix),
    )
    .where(among(t.assignment.c.query_pk, "pks"), t.assignment.c.response.is_not(None))
)
_DECISIONS = select(t.prompt.c.stage, t.prompt.c.query_pk, t.prompt.c.decision).where(
    among(t.prompt.c.query_pk, "pks"), t.prompt.c.decision.is_not(None)
)


def ready(conn: Connection, *, limit: int, job_id: str | None) -> list[QueryState]:
    """Open queries that wait for no call, of the highest priority there is, in submission order."""
    return _states(conn, _ready_rows(conn, limit=limit, job_id=job_id, wanted=_queries()))


class Wanted(NamedTuple):
    """Ready queries that somebody would step: of one job (None = of all) but `without` these jobs, and of at
    least so much priority."""

    job_id: str | None
    without: frozenset[str]
    min_priority: int


def free_ready(conn: Connection, *, limit: int, wanted: Wanted) -> list[QueryState]:
    """As `ready`, without those that somebody took, or that wait to be tried again."""
    return _states(conn, _free_rows(conn, _queries(), limit=limit, wanted=wanted))


def take_ready(conn: Connection, *, limit: int, for_s: float, wanted: Wanted) -> list[QueryState]:
    """As `free_ready`; they are the caller's for `for_s` seconds."""
    q = t.query.c
    lockable = _queries().with_for_update(of=t.query, skip_locked=True)
    rows = _free_rows(conn, lockable, limit=limit, wanted=wanted)
    mark = update(t.query).where(among(q.pk, [row.pk for row in rows]))
    conn.execute(mark.values(stepped_until=db_now() + for_s))
    return _states(conn, rows)


def is_ready(conn: Connection, wanted: Wanted) -> bool:
    """True if `take_ready` would find something."""
    return bool(_free_rows(conn, _queries(), limit=1, wanted=wanted))


def postpone(conn: Connection, states: Sequence[QueryState], *, for_s: float, counted: bool) -> int:
    q = t.query.c
    n = 0
    for chunk in chunked(sorted(states, key=lambda state: state.id), CHUNK):
        locked = conn.execute(_LOCKED, {"pks": [state.id for state in chunk]})
        stage_of = {row.pk: row.stage for row in locked if row.state == t.OPEN and row.n_outstanding == 0}
        pks = [state.id for state in chunk if stage_of.get(state.id) == state.stage]
        values = {"stepped_until": db_now() + for_s} | (
            {"step_attempt": q.step_attempt + 1} if counted else {}
        )
        n += conn.execute(update(t.query).where(among(q.pk, pks)).values(values)).rowcount
    return n


@cache
def _routing() -> Select[tuple[int]]:
    return select(t.query.c.pk).where(_is_waiting(), t.query.c.stage == inline(0)).limit(1)


def is_routing(conn: Connection) -> bool:
    return conn.execute(_routing()).first() is not None


def _states(conn: Connection, rows: Sequence[Any]) -> list[QueryState]:
    stepped = [row.pk for row in rows if row.stage]
    responses, decisions = responses_of(conn, stepped), _decisions_of(conn, stepped)
    return [
        QueryState(
            id=row.pk,
            job_id=row.job_id,
            query=Query.model_validate_json(row.payload),
            stage=row.stage,
            decision=decisions.get(row.pk),
            responses=tuple(responses.get(row.pk, ())),
            attempt=row.step_attempt,
        )
        for row in rows
    ]


def responses_of(conn: Connection, query_pks: Sequence[int]) -> dict[int, list[Response]]:
    """Responses by query, in call order."""
    found: dict[int, list[Response]] = defaultdict(list)
    rows = conn.execute(_RESPONSES, {"pks": query_pks}).all() if query_pks else []
    for _pk, query_pk, payload in sorted(rows, key=itemgetter(0)):
        found[query_pk].append(Response.model_validate_json(payload))
    return found


def calls_of(conn: Connection, query_pks: Sequence[int]) -> dict[int, list[AnsweredCall]]:
    """Answered calls by query, in their order."""
    found: dict[int, list[AnsweredCall]] = defaultdict(list)
    rows = conn.execute(_CALLS, {"pks": query_pks}).all() if query_pks else []
    for row in sorted(rows, key=itemgetter(0)):
        call = call_of(row)
        found[row.query_pk].append(AnsweredCall(call, Response.model_validate_json(row.response)))
    return found


def call_of(row: Any) -> Call:
    """The call of an assignment's row, joined with its prompt's."""
    return Call(
        expert_id=row.expert_id,
        role=CallRole(row.role),
        messages=messages_from_json(row.messages),
        sampling=sampling_from_json(row.sampling),
        sample_ix=row.sample_ix,
    )


def decision_of_query() -> ScalarSelect[str]:
    """JSON of the decision of the enclosing statement's query."""
    p = t.prompt.c
    of_query = select(p.decision).where(p.query_pk == t.query.c.pk, p.decision.is_not(None))
    return of_query.order_by(p.stage.desc()).limit(1).correlate(t.query).scalar_subquery()


def _decisions_of(conn: Connection, query_pks: Sequence[int]) -> dict[int, Decision]:
    if not query_pks:
        return {}
    by_stage = sorted(conn.execute(_DECISIONS, {"pks": query_pks}), key=itemgetter(0))
    latest = {query_pk: text for _stage, query_pk, text in by_stage}
    return {query_pk: Decision.model_validate_json(text) for query_pk, text in latest.items()}


def advance(
    conn: Connection,
    steps: Sequence[tuple[QueryState, Step]],
    engine_of: Mapping[str, str],
    costs: Costs = NO_COSTS,
) -> int:
    """Apply steps to the queries that still are where the step was computed; returns how many. Calls for
    which the budget of a query's key has no room end it instead."""
    counts = Counts()
    in_order = sorted(steps, key=lambda taken: taken[0].id)
    n = sum(_advance_chunk(conn, chunk, engine_of, counts, costs) for chunk in chunked(in_order, CHUNK))
    add_counts(conn, counts)
    return n


def _queries() -> Select[Any]:
    q = t.query.c
    return (
        select(q.pk, q.payload, q.stage, q.step_attempt, t.job.c.id.label("job_id"))
        .join(t.job)
        .where(t.job.c.state == inline(JobState.RUNNING.value))
    )


def _free_rows(conn: Connection, queries: Select[Any], *, limit: int, wanted: Wanted) -> list[Any]:
    free = queries.where(_is_free())
    if wanted.without:
        free = free.where(t.job.c.id.not_in(sorted(wanted.without)))
    return _ready_rows(conn, limit=limit, job_id=wanted.job_id, wanted=free, min_priority=wanted.min_priority)


def _is_free() -> ColumnElement[bool]:
    until = t.query.c.stepped_until
    return until.is_(None) | (until < db_now()) | (until > db_now() + LONGEST_S)


def _ready_rows(
    conn: Connection,
    *,
    limit: int,
    job_id: str | None,
    wanted: Select[Any],
    min_priority: int = BACKGROUND,
) -> list[Any]:
    """Of the highest priority of which there are any: a question is not stepped together with a batch."""
    q = t.query.c
    if job_id is not None:
        wanted = wanted.where(t.job.c.id == job_id)
    top = select(func.max(q.priority)).where(_is_waiting())
    priority = conn.execute(top).scalar()
    while priority is not None and priority >= min_priority:
        pick = _interactive_rows if priority >= INTERACTIVE else _batch_rows
        if rows := pick(conn, wanted, priority, limit=limit):
            return rows
        priority = conn.execute(top.where(q.priority < priority)).scalar()
    return []


def _interactive_rows(conn: Connection, wanted: Select[Any], priority: int, *, limit: int) -> list[Any]:
    """First come, first served."""
    q = t.query.c
    first = wanted.where(_is_waiting(), q.priority == priority).order_by(q.job_pk, q.pk)
    return list(conn.execute(first.limit(limit)))


def _batch_rows(conn: Connection, wanted: Select[Any], priority: int, *, limit: int) -> list[Any]:
    """As many of each job."""
    q = t.query.c
    of_priority = wanted.where(_is_waiting(), q.priority == priority)
    for jobs in _batches(conn, priority, most=max(limit, JOBS_AT_ONCE)):
        for some in chunked(jobs, max(limit, FEW_JOBS)):
            n_of = dict.fromkeys(some, math.ceil(limit / len(some)))
            rows = of_each_job(conn, of_priority, job_pk=q.job_pk, pk=q.pk, n_of=n_of)
            if rows:
                return sorted(rows, key=lambda row: row.pk)[:limit]
    return []


def _batches(conn: Connection, priority: int, *, most: int) -> Iterator[list[int]]:
    """Running jobs with ready queries, up to `most` together; of more, those after one drawn by lot first."""
    first = ready_jobs(conn, priority, after=-1, most=most)
    if len(first) < most:
        yield _running(first)
        return
    start = random.randrange(conn.execute(select(func.max(t.job.c.pk))).scalar_one())
    after = start
    while found := ready_jobs(conn, priority, after=after, most=most):
        yield _running(found)
        after = found[-1].job_pk
    after = -1
    while (found := ready_jobs(conn, priority, after=after, most=most)) and found[0].job_pk <= start:
        yield _running(found)
        after = found[-1].job_pk


def _running(jobs: Sequence[Any]) -> list[int]:
    return [row.job_pk for row in jobs if row.state == JobState.RUNNING]


def _is_waiting() -> ColumnElement[bool]:
    q = t.query.c
    return (q.state == inline(t.OPEN)) & (q.n_outstanding == inline(0))


def _advance_chunk(
    conn: Connection,
    steps: Sequence[tuple[QueryState, Step]],
    engine_of: Mapping[str, str],
    counts: Counts,
    costs: Costs,
) -> int:
    pks = [state.id for state, _ in steps]
    locked = conn.execute(_LOCKED, {"pks": pks})
    waiting = {row.pk: row for row in locked if row.state == t.OPEN and row.n_outstanding == 0}
    taken: list[Taken] = []
    for state, step in steps:
        row = waiting.pop(state.id, None)
        if row is not None and row.stage == state.stage:
            taken.append((row, state, step))
    taken = _within_budgets(conn, taken, costs)
    _ask(conn, [(row, step) for row, _, step in taken if isinstance(step, Ask)], engine_of, counts)
    _finish(conn, [(row, state, step) for row, state, step in taken if isinstance(step, Done)], counts)
    return len(taken)


def _within_budgets(conn: Connection, taken: list[Taken], costs: Costs) -> list[Taken]:
    """These steps, with an end in place of calls that their key's budget has no room for."""
    paying = payers(conn, [row.job_pk for row, _, _ in taken])
    if not paying:
        return taken
    lock(conn, paying)
    settle(conn, {row.pk: row.job_pk for row, _, step in taken if isinstance(step, Done)}, paying)
    asks = [(row, state, step) for row, state, step in taken if isinstance(step, Ask)]
    no_room = hold(conn, asks, paying, costs)
    settle(conn, {row.pk: row.job_pk for row, _, _ in asks if row.pk in no_room}, paying)
    return [
        (row, state, step if row.pk not in no_room else Done(answer=_without_room(no_room[row.pk])))
        for row, state, step in taken
    ]


def _without_room(why: str) -> Answer:
    return Answer(text="", error_code=QUOTA, error=why)


def _ask(conn: Connection, asks: list[tuple[Any, Ask]], engine_of: Mapping[str, str], counts: Counts) -> None:
    if not asks:
        return
    now = conn.execute(select(db_now())).scalar_one()
    prompts: list[Record] = []
    assignments: list[Record] = []
    listed: list[Listed] = []
    for row, ask in asks:
        decision = None if ask.decision is None else to_json(ask.decision)
        texts: dict[str, int] = {}
        for call in ask.calls:
            text = messages_to_json(call.messages)
            if text not in texts:
                prompts.append((row.pk, row.stage, len(texts), text, None if texts else decision))
                texts[text] = len(texts)
            record = _assignment_row(row, call, engine_of, prompt_ix=texts[text], now=now)
            assignments.append(record)
            est_tokens = int(record[EST_TOKENS] or 0)
            listed.append(Listed(row.job_pk, engine_of[call.expert_id], row.priority, est_tokens, now))
        counts[row.job_pk, "n_assignments"] += len(ask.calls)
    insert_rows(conn, t.prompt, PROMPT_COLUMNS, prompts)
    insert_rows(conn, t.assignment, ASSIGNMENT_COLUMNS, assignments)
    counts.is_asking = True
    counts.waits(listed)
    _move_on(conn, asks)


def _assignment_row(
    row: Any, call: Call, engine_of: Mapping[str, str], *, prompt_ix: int, now: float
) -> Record:
    """In the order of `ASSIGNMENT_COLUMNS`."""
    if call.expert_id not in engine_of:
        raise StoreError(f"expert '{call.expert_id}' has no engine.", remedy="Is it still in the pool?")
    return (
        *(row.pk, row.job_pk, row.stage),
        *(checked_name("expert", call.expert_id), call.sample_ix),
        checked_name("engine", engine_of[call.expert_id]),
        *(call.role.value, prompt_ix, call.sampling.model_dump_json(exclude_defaults=True)),
        *(estimated_tokens(call), row.priority, t.WAITING, 0, now),
    )


def _move_on(conn: Connection, asks: Sequence[tuple[Any, Ask]]) -> None:
    by_n: dict[int, list[int]] = defaultdict(list)
    for row, ask in asks:
        by_n[len(ask.calls)].append(row.pk)
    for n, pks in by_n.items():
        moved = {"stage": t.query.c.stage + 1, "n_outstanding": n, "stepped_until": None, "step_attempt": 0}
        conn.execute(update(t.query).where(among(t.query.c.pk, pks)).values(moved))


def _finish(conn: Connection, finished: list[tuple[Any, QueryState, Done]], counts: Counts) -> None:
    if not finished:
        return
    answers: list[Record] = []
    by_state: dict[str, list[int]] = {t.COMPLETED: [], t.FAILED: []}
    for row, state, done in finished:
        payload, is_queries = answer_to_json(done.answer, state.decision)
        answers.append((row.pk, is_queries, payload))
        outcome = t.COMPLETED if done.answer.error_code is None else t.FAILED
        by_state[outcome].append(row.pk)
        counts[row.job_pk, f"n_{outcome}"] += 1
        counts.spent.answered(row.job_pk, state, failed=outcome == t.FAILED)
    insert_rows(conn, t.answer, ANSWER_COLUMNS, answers)
    for outcome, pks in by_state.items():
        if pks:
            conn.execute(
                update(t.query).where(among(t.query.c.pk, pks)).values(state=outcome, stepped_until=None)
            )
