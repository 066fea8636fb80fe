"""Leases: claim, renew, complete, release, sweep. The fence is (owner, attempt).

A claim takes assignments of one engine, one priority and one attempt. Those that were claimed before
and came back (their worker or engine died) go last and in ever smaller shards, so that a prompt that
kills its engine is alone by its last attempt and takes no neighbour with it: a death counts as the fault
of a prompt only if that was all its worker held.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select, update

from orchestrator.batching import retry_limit
from orchestrator.domain.assignments import Assignment, EngineBacklog, Response
from orchestrator.ports.jobs import Completion, SweepReport
from orchestrator.store import devices
from orchestrator.store import tables as t
from orchestrator.store.bulk import among, update_rows
from orchestrator.store.codec import (
    checked_name,
    failed_response,
    to_json,
)
from orchestrator.store.database import chunked, db_now, inline
from orchestrator.store.steps import call_of
from orchestrator.store.submission import Counts, add_counts, expire

CHUNK = 500

_UNLEASED = {"lease_owner": None, "lease_expires_at": None}

_a, _p = t.assignment.c, t.prompt.c
_WITH_PROMPT = (
    select(
        *(_a.pk, _a.query_pk, _a.stage, _a.engine_id, _a.expert_id, _a.role, _a.sampling, _a.sample_ix),
        *(_a.priority, _a.attempt, _p.messages, t.job.c.id.label("job_id")),
    )
    .join(t.prompt, (_p.query_pk == _a.query_pk) & (_p.stage == _a.stage) & (_p.ix == _a.prompt_ix))
    .join(t.job, t.job.c.pk == _a.job_pk)
    .where(among(_a.pk, "pks"))
    .order_by(_a.pk)
)
_LOCKABLE = (
    select(
        *(_a.pk, _a.query_pk, _a.job_pk, _a.expert_id, _a.role, _a.stage, _a.sample_ix),
        *(
            _a.state,
            _a.engine_id,
            _a.lease_owner,
            _a.attempt,
            (_a.lease_expires_at < db_now()).label("is_expired"),
        ),
    )
    .join(t.query, t.query.c.pk == _a.query_pk)
    .where(among(_a.pk, "pks"))
    .order_by(t.query.c.pk, _a.pk)
)
_COUNT_DOWN = (
    update(t.query)
    .where(among(t.query.c.pk, "pks"))
    .values(n_outstanding=t.query.c.n_outstanding - bindparam("n"))
)
_LOCKED = _LOCKABLE.with_for_update(of=[t.query, t.assignment])
_LOCKED_OR_SKIPPED = _LOCKABLE.with_for_update(of=[t.query, t.assignment], skip_locked=True)


def backlog(conn: Connection, *, owner: str) -> list[EngineBacklog]:
    a = t.assignment.c
    waiting = conn.execute(
        select(
            a.engine_id,
            func.count().label("n"),
            func.sum(a.est_tokens).label("est_tokens"),
            func.max(a.priority).label("top_priority"),
            (db_now() - func.min(a.created_at)).label("oldest_wait_s"),
        )
        .where(a.state == inline(t.WAITING))
        .group_by(a.engine_id)
    ).all()
    leased = conn.execute(
        select(a.engine_id, func.count().label("n"), func.sum(a.est_tokens).label("est_tokens"))
        .where(a.state == inline(t.LEASED))
        .group_by(a.engine_id)
    ).all()
    elsewhere, unserved = devices.elsewhere(conn, owner), devices.unserved_s(conn)
    found = {row.engine_id: _waiting(row) for row in waiting}
    for row in leased:
        item = found.get(row.engine_id, EngineBacklog(engine_id=row.engine_id, n_waiting=0))
        counted = {"n_leased": row.n, "leased_tokens": int(row.est_tokens)}
        found[row.engine_id] = item.model_copy(update=counted)
    return [
        _with_devices(found[engine_id], elsewhere.get(engine_id), unserved.get(engine_id, math.inf))
        for engine_id in sorted(found)
    ]


def _with_devices(item: EngineBacklog, there: devices.Elsewhere | None, unserved_s: float) -> EngineBacklog:
    n_devices, loading_s = there or devices.Elsewhere()
    seen = {"n_devices_elsewhere": n_devices, "loading_s": loading_s, "unserved_s": unserved_s}
    return item.model_copy(update=seen)


def is_waiting(conn: Connection, engine_id: str, *, min_priority: int) -> bool:
    return conn.execute(_head(engine_id, min_priority)).first() is not None


def claim(
    conn: Connection, engine_id: str, *, owner: str, limit: int, lease_s: float, min_priority: int
) -> tuple[Assignment, ...]:
    top = conn.execute(_head(engine_id, min_priority).with_for_update(skip_locked=True)).first()
    head = top and conn.execute(_freshest(engine_id, top.priority).with_for_update(skip_locked=True)).first()
    if head is None:
        return ()
    a = t.assignment.c
    picked = (
        select(a.pk)
        .where(_is_waiting_for(engine_id), a.priority == head.priority, a.attempt == head.attempt)
        .order_by(a.pk)
        .limit(retry_limit(limit, attempt=head.attempt))
        .with_for_update(skip_locked=True)
        .cte("picked")
    )
    leased = conn.execute(
        update(t.assignment)
        .where(a.pk.in_(select(picked.c.pk)))
        .values(
            state=t.LEASED,
            attempt=a.attempt + 1,
            lease_owner=checked_name("owner", owner),
            lease_expires_at=db_now() + lease_s,
        )
        .returning(a.pk)
    )
    return _assignments(conn, [row.pk for row in leased])


def renew(conn: Connection, owner: str, *, lease_s: float) -> int:
    return conn.execute(
        update(t.assignment).where(_leased_by(owner)).values(lease_expires_at=db_now() + lease_s)
    ).rowcount


def held(conn: Connection, owner: str) -> frozenset[int]:
    return frozenset(conn.execute(select(t.assignment.c.pk).where(_leased_by(owner))).scalars())


def complete(conn: Connection, owner: str, completions: Sequence[Completion]) -> int:
    counts = Counts()
    n = sum(_complete_chunk(conn, owner, chunk, counts) for chunk in chunked(completions, CHUNK))
    add_counts(conn, counts)
    return n


def release(conn: Connection, owner: str, assignment_pks: Sequence[int] | None, *, refund: bool) -> int:
    """Give back the named assignments, or all of the owner; returns how many were its own."""
    a = t.assignment.c
    back = {"state": t.WAITING, **_UNLEASED} | ({"attempt": a.attempt - 1} if refund else {})
    mine = update(t.assignment).where(_leased_by(owner)).values(back)
    if assignment_pks is None:
        return conn.execute(mine).rowcount
    return conn.execute(mine.where(among(a.pk, assignment_pks))).rowcount


def lease_owners(conn: Connection) -> list[str]:
    a = t.assignment.c
    owners = select(a.lease_owner).where(a.state == inline(t.LEASED)).distinct()
    return sorted(conn.execute(owners).scalars())


def bury(conn: Connection, owner: str, *, max_attempts: int, harmless: Collection[str] = ()) -> SweepReport:
    pks = conn.execute(select(t.assignment.c.pk).where(_leased_by(owner))).scalars()
    return _end_leases(
        conn, pks, lambda row: row.lease_owner == owner, max_attempts=max_attempts, harmless=harmless
    )


def sweep(conn: Connection, *, max_attempts: int, harmless: Collection[str] = ()) -> SweepReport:
    a = t.assignment.c
    devices.forget_gone(conn)
    expired = select(a.pk).where(a.state == inline(t.LEASED), a.lease_expires_at < db_now())
    swept = _end_leases(
        conn,
        conn.execute(expired).scalars(),
        lambda row: row.is_expired,
        max_attempts=max_attempts,
        harmless=harmless,
    )
    return swept._replace(n_expired=expire(conn))


def give_up(
    conn: Connection, engine_id: str, *, code: str, error: str, min_priority: int, waited_s: float, limit: int
) -> int:
    a = t.assignment.c
    old = _is_waiting_for(engine_id) & (a.priority >= min_priority) & (a.created_at <= db_now() - waited_s)
    pks = sorted(conn.execute(select(a.pk).where(old).limit(limit)).scalars())
    rows = [row for row in _locked(conn, pks, skip_locked=True) if row.state == t.WAITING]
    counts = Counts()
    _fail(conn, rows, counts, code=code, error=error)
    add_counts(conn, counts)
    return len(rows)


def _end_leases(
    conn: Connection,
    pks: Iterable[int],
    is_over: Callable[[Any], bool],
    *,
    max_attempts: int,
    harmless: Collection[str],
) -> SweepReport:
    """Take leases from owners that are dead, or seem so. `is_over` is asked again under lock: somebody else
    may have done it meanwhile."""
    lone, counts = _lone(conn, harmless), Counts()
    n_released = n_poisoned = 0
    for chunk in chunked(sorted(pks), CHUNK):
        locked = _locked(conn, chunk, skip_locked=True)
        rows = [row for row in locked if row.state == t.LEASED and is_over(row)]
        poison = [row for row in rows if row.pk in lone and row.attempt >= max_attempts]
        _poison(conn, poison, counts)
        _take_back(conn, [row for row in rows if row not in poison], harmless)
        n_poisoned += len(poison)
        n_released += len(rows) - len(poison)
    add_counts(conn, counts)
    return SweepReport(n_released, n_poisoned)


def _lone(conn: Connection, harmless: Collection[str]) -> set[int]:
    """Assignments beside which their owner holds nothing that could have killed it."""
    a = t.assignment.c
    leased = select(func.min(a.pk)).where(a.state == inline(t.LEASED))
    if harmless:
        leased = leased.where(a.engine_id.not_in(sorted(harmless)))
    return set(conn.execute(leased.group_by(a.lease_owner).having(func.count() == inline(1))).scalars())


def _take_back(conn: Connection, rows: Sequence[Any], harmless: Collection[str]) -> None:
    """To the queue; the attempt counts, unless the engine is one that no prompt can kill a worker by."""
    a = t.assignment.c
    waiting = {"state": t.WAITING, **_UNLEASED}
    free = [row.pk for row in rows if row.engine_id in harmless]
    counted = [row.pk for row in rows if row.engine_id not in harmless]
    conn.execute(update(t.assignment).where(among(a.pk, counted)).values(waiting))
    conn.execute(update(t.assignment).where(among(a.pk, free)).values(waiting | {"attempt": a.attempt - 1}))


def _waiting(row: Any) -> EngineBacklog:
    return EngineBacklog(
        engine_id=row.engine_id,
        n_waiting=row.n,
        est_tokens=int(row.est_tokens),
        oldest_wait_s=max(0.0, row.oldest_wait_s),
        top_priority=row.top_priority,
    )


def _head(engine_id: str, min_priority: int) -> Select[Any]:
    a = t.assignment.c
    return (
        select(a.priority)
        .where(_is_waiting_for(engine_id), a.priority >= min_priority)
        .order_by(a.engine_id.desc(), a.priority.desc(), a.attempt.desc())
        .limit(1)
    )


def _freshest(engine_id: str, priority: int) -> Select[Any]:
    """What was claimed least often. A query of its own: one sort in two directions would read all rows."""
    a = t.assignment.c
    return (
        select(a.priority, a.attempt)
        .where(_is_waiting_for(engine_id), a.priority == priority)
        .order_by(a.engine_id, a.priority, a.attempt)
        .limit(1)
    )


def _is_waiting_for(engine_id: str) -> ColumnElement[bool]:
    return (t.assignment.c.state == inline(t.WAITING)) & (t.assignment.c.engine_id == engine_id)


def _leased_by(owner: str) -> ColumnElement[bool]:
    return (t.assignment.c.state == inline(t.LEASED)) & (t.assignment.c.lease_owner == owner)


def _assignments(conn: Connection, pks: Sequence[int]) -> tuple[Assignment, ...]:
    return tuple(_assignment(row) for row in conn.execute(_WITH_PROMPT, {"pks": pks}))


def _assignment(row: Any) -> Assignment:
    return Assignment(
        id=row.pk,
        job_id=row.job_id,
        query_id=row.query_pk,
        stage=row.stage,
        engine_id=row.engine_id,
        call=call_of(row),
        priority=row.priority,
        attempt=row.attempt,
    )


def _locked(conn: Connection, pks: Sequence[int], *, skip_locked: bool = False) -> list[Any]:
    """Assignments under lock, each after its query (see `submission` for the order)."""
    return list(conn.execute(_LOCKED_OR_SKIPPED if skip_locked else _LOCKED, {"pks": pks}))


def _complete_chunk(conn: Connection, owner: str, completions: Sequence[Completion], counts: Counts) -> int:
    rows = {row.pk: row for row in _locked(conn, [c.assignment_id for c in completions])}
    accepted: dict[int, tuple[Any, Response]] = {}
    for completion in completions:
        row = rows.get(completion.assignment_id)
        if row is None:
            continue
        if row.pk in accepted or row.state in (t.DONE, t.FAILED):
            counts[row.job_pk, "n_regenerated"] += 1
        elif (row.state, row.lease_owner, row.attempt) == (t.LEASED, owner, completion.attempt):
            accepted[row.pk] = (row, completion.response)
    _store_responses(conn, accepted.values(), counts)
    return len(accepted)


def _poison(conn: Connection, rows: Iterable[Any], counts: Counts) -> None:
    error = "Every worker that tried this prompt died; it is not tried again."
    _fail(conn, rows, counts, code="poison", error=error)


def _fail(conn: Connection, rows: Iterable[Any], counts: Counts, *, code: str, error: str) -> None:
    _store_responses(
        conn,
        [
            (
                row,
                failed_response(
                    expert_id=row.expert_id,
                    role=row.role,
                    stage=row.stage,
                    sample_ix=row.sample_ix,
                    code=code,
                    error=error,
                ),
            )
            for row in rows
        ],
        counts,
    )


def _store_responses(conn: Connection, pairs: Iterable[tuple[Any, Response]], counts: Counts) -> None:
    """Close locked assignments with their responses and count down their queries."""
    pairs = list(pairs)
    if not pairs:
        return
    rows = [(row.pk, t.FAILED if response.failed else t.DONE, to_json(response)) for row, response in pairs]
    gone = "lease_owner = NULL, lease_expires_at = NULL"
    update_rows(conn, t.assignment, ("pk", "state", "response"), rows, also=gone)
    _count_down(conn, Counter(row.query_pk for row, _ in pairs))
    counts.update((row.job_pk, "n_responses") for row, _ in pairs)


def _count_down(conn: Connection, answered: Counter[int]) -> None:
    by_n: dict[int, list[int]] = defaultdict(list)
    for query_pk, n in answered.items():
        by_n[n].append(query_pk)
    for n, pks in by_n.items():
        conn.execute(_COUNT_DOWN, {"n": n, "pks": pks})
