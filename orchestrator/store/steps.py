"""Queries move on: which are ready for their next step, and what that step leaves on the books."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    Connection,
    ScalarSelect,
    bindparam,
    select,
    update,
)

from orchestrator.batching import estimated_tokens
from orchestrator.domain.answers import Answer, Decision
from orchestrator.domain.assignments import (
    INTERACTIVE,
    Ask,
    Call,
    CallRole,
    Done,
    Job,
    QueryState,
    Response,
    Step,
)
from orchestrator.domain.queries import Query
from orchestrator.domain.spending import NO_COSTS, QUOTA, Costs
from orchestrator.errors import StoreError
from orchestrator.ports.jobs import AnsweredCall, Lessee
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
from orchestrator.store.database import chunked, db_now
from orchestrator.store.spending import hold, lock, payers, settle
from orchestrator.store.tally import Counts, Listed, add_counts

CHUNK = 2000

PROMPT_COLUMNS = ("query_pk", "stage", "ix", "messages", "decision")
ASSIGNMENT_COLUMNS = (
    *("query_pk", "job_pk", "stage", "expert_id", "sample_ix", "engine_id", "role", "prompt_ix", "sampling"),
    *("est_tokens", "priority", "state", "attempt", "created_at"),
)
EST_TOKENS, STATE, ATTEMPT = map(ASSIGNMENT_COLUMNS.index, ("est_tokens", "state", "attempt"))
_LEASE_COLUMNS = ("lease_owner", "lease_expires_at")
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
_NOW = select(db_now())
_MOVED = (
    update(t.query)
    .where(among(t.query.c.pk, "pks"))
    .values(stage=t.query.c.stage + 1, n_outstanding=bindparam("n"), stepped_until=None, step_attempt=0)
)
_ENDED = (
    update(t.query).where(among(t.query.c.pk, "pks")).values(state=bindparam("outcome"), stepped_until=None)
)
_DECISIONS = select(t.prompt.c.stage, t.prompt.c.query_pk, t.prompt.c.decision).where(
    among(t.prompt.c.query_pk, "pks"), t.prompt.c.decision.is_not(None)
)


def postpone(conn: Connection, states: Sequence[QueryState], *, for_s: float, counted: bool) -> int:
    """See `ports.jobs.StepStore`."""
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


def states_of(conn: Connection, rows: Sequence[Any]) -> list[QueryState]:
    """States of queries from their rows."""
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
            job=_job_of(row),
        )
        for row in rows
    ]


def _job_of(row: Any) -> Job | None:
    payload = row._mapping.get("job")
    return None if payload is None else Job.model_validate_json(payload)


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
    books = Books(engine_of, costs)
    n = apply(conn, steps, books)
    add_counts(conn, books.counts)
    return n


class Books:
    """Books as one transaction adds to them.

    Args:
        lessee: who begins calls of questions at once, as far as its engines have room; None = nobody does.
    """

    def __init__(
        self, engine_of: Mapping[str, str], costs: Costs = NO_COSTS, lessee: Lessee | None = None
    ) -> None:
        self.engine_of = engine_of
        self.costs = costs
        self.counts = Counts()
        self.lessee = lessee
        self.room = Counter[str]() if lessee is None else Counter(lessee.room)

    def begins(self, priority: int, engine_id: str) -> bool:
        """True if a new call is to be begun at once."""
        if priority < INTERACTIVE or self.room[engine_id] < 1:
            return False
        self.room[engine_id] -= 1
        return True


def apply(conn: Connection, steps: Sequence[tuple[QueryState, Step]], books: Books) -> int:
    """`advance`, with counts that are added later."""
    in_order = sorted(steps, key=lambda taken: taken[0].id)
    return sum(_advance_chunk(conn, chunk, books) for chunk in chunked(in_order, CHUNK))


def _advance_chunk(conn: Connection, steps: Sequence[tuple[QueryState, Step]], books: Books) -> int:
    pks = [state.id for state, _ in steps]
    locked = conn.execute(_LOCKED, {"pks": pks})
    waiting = {row.pk: row for row in locked if row.state == t.OPEN and row.n_outstanding == 0}
    taken: list[Taken] = []
    for state, step in steps:
        row = waiting.pop(state.id, None)
        if row is not None and row.stage == state.stage:
            taken.append((row, state, step))
    taken = _within_budgets(conn, taken, books.costs)
    _ask(conn, [(row, step) for row, _, step in taken if isinstance(step, Ask)], books)
    done = [(row, state, step) for row, state, step in taken if isinstance(step, Done)]
    _finish(conn, done, books.counts)
    return len(taken)


def _within_budgets(conn: Connection, taken: list[Taken], costs: Costs) -> list[Taken]:
    """These steps, with an end in place of calls that their key's budget has no room for."""
    paying = payers(conn, [row.job_pk for row, state, _ in taken if state.job is None or state.job.owner])
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


def _ask(conn: Connection, asks: list[tuple[Any, Ask]], books: Books) -> None:
    if not asks:
        return
    now = conn.execute(_NOW).scalar_one()
    counts, engine_of = books.counts, dict(books.engine_of)
    prompts: list[Record] = []
    assignments: list[Record] = []
    waiting: list[Listed] = []
    begun: list[Listed] = []
    for row, ask in asks:
        decision = None if ask.decision is None else to_json(ask.decision)
        texts: dict[str, int] = {}
        written: dict[tuple[int, ...], str] = {}
        for call in ask.calls:
            same = tuple(map(id, call.messages))  # of experts that are asked in the same words
            text = written.get(same)
            if text is None:
                text = written[same] = messages_to_json(call.messages)
            if text not in texts:
                prompts.append((row.pk, row.stage, len(texts), text, None if texts else decision))
                texts[text] = len(texts)
            record = _assignment_row(row, call, engine_of, prompt_ix=texts[text], now=now)
            engine_id, est_tokens = engine_of[call.expert_id], int(record[EST_TOKENS] or 0)
            is_begun = books.begins(row.priority, engine_id)
            assignments.append(_leased(record, books.lessee, now) if is_begun else (*record, None, None))
            listed = Listed(row.job_pk, engine_id, row.priority, est_tokens, now)
            (begun if is_begun else waiting).append(listed)
        counts[row.job_pk, "n_assignments"] += len(ask.calls)
    insert_rows(conn, t.prompt, PROMPT_COLUMNS, prompts)
    insert_rows(conn, t.assignment, (*ASSIGNMENT_COLUMNS, *_LEASE_COLUMNS), assignments)
    counts.is_asking = True
    counts.waits(waiting)
    counts.leased(begun)
    counts.begun |= {(listed.job_pk, listed.engine_id, listed.priority) for listed in begun}
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


def _leased(record: Record, lessee: Lessee | None, now: float) -> Record:
    """The row of an assignment, leased."""
    assert lessee is not None, "who begins calls"
    row = list(record)
    row[STATE], row[ATTEMPT] = t.LEASED, 1
    return (*row, checked_name("owner", lessee.owner), now + lessee.lease_s)


def _move_on(conn: Connection, asks: Sequence[tuple[Any, Ask]]) -> None:
    by_n: dict[int, list[int]] = defaultdict(list)
    for row, ask in asks:
        by_n[len(ask.calls)].append(row.pk)
    for n, pks in by_n.items():
        conn.execute(_MOVED, {"n": n, "pks": pks})


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
            conn.execute(_ENDED, {"outcome": outcome, "pks": pks})
