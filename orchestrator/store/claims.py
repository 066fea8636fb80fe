"""Leases: claim, renew, complete, release. The fence is (owner, attempt).

A claim takes assignments of one engine and one attempt. Fresh ones are divided fairly among the jobs that
wait for the engine (`batching.shares`). Those that were claimed before and came back (their worker or engine
died) go last and in ever smaller shards, so that a prompt that kills its engine is alone by its last attempt
and takes no neighbour with it: a death counts as the fault of a prompt only if that was all its worker held.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Double,
    Select,
    bindparam,
    cast,
    exists,
    or_,
    select,
    update,
)

from orchestrator.batching import retry_limit
from orchestrator.batching.shares import Share, divided, rank_of
from orchestrator.domain.assignments import Assignment, Response
from orchestrator.ports.jobs import Completion
from orchestrator.store import tables as t
from orchestrator.store.audit import recount
from orchestrator.store.bulk import among, update_rows
from orchestrator.store.codec import checked_name, to_json
from orchestrator.store.database import db_now, inline
from orchestrator.store.picking import of_each_job
from orchestrator.store.steps import call_of
from orchestrator.store.tally import Counts, add_counts, in_order

JOBS_AT_ONCE = 32
"""Jobs that a claim is divided among; the others have had more turns."""

_COUNTED = ("job_pk", "engine_id", "priority", "attempt", "est_tokens", "created_at")
"""Columns that `Counts` reads."""

_UNLEASED = {"lease_owner": None, "lease_expires_at": None}

_a, _p = t.assignment.c, t.prompt.c
_CALLS = (
    select(
        *(_a.pk, _a.query_pk, _a.stage, _a.engine_id, _a.expert_id, _a.role, _a.sampling, _a.sample_ix),
        *(_a.priority, _a.attempt, _a.job_pk, _a.est_tokens, _a.created_at),
        *(_p.messages, t.job.c.id.label("job_id")),
    )
    .join(t.prompt, (_p.query_pk == _a.query_pk) & (_p.stage == _a.stage) & (_p.ix == _a.prompt_ix))
    .join(t.job, t.job.c.pk == _a.job_pk)
)
"""All that a worker needs to know of a call, and all that is counted of it: read as it is locked, so that it
is not looked up again when it is leased."""
_LOCKABLE = (
    select(
        *(_a.pk, _a.query_pk, _a.job_pk, _a.expert_id, _a.role, _a.stage, _a.sample_ix, _a.engine_id),
        *(_a.priority, _a.est_tokens, _a.created_at, _a.state, _a.lease_owner, _a.attempt),
        (_a.lease_expires_at < db_now()).label("is_expired"),
    )
    .join(t.query, t.query.c.pk == _a.query_pk)
    .where(among(_a.pk, "pks"))
    .order_by(t.query.c.pk, _a.pk)
)
_s = t.share.c
_SHARES = (
    select(_s.rank, _s.job_pk, _s.priority, _s.n_waiting - _s.n_retried, _s.turn)
    .where(
        _s.engine_id == bindparam("engine"),
        _s.n_waiting > _s.n_retried,
        _s.priority >= bindparam("least"),
    )
    .order_by(_s.engine_id, _s.rank, _s.turn)
    .limit(bindparam("most"))
)


def _retried(found: Select[Any], engine_id: str | BindParameter[str]) -> Select[Any]:
    """Only what has a share counts: the job is not being ended."""
    a, s = t.assignment.c, t.share.c
    return found.join(t.share, (s.job_pk == a.job_pk) & (s.engine_id == a.engine_id)).where(
        a.state == inline(t.WAITING), a.attempt > inline(0), a.engine_id == engine_id
    )


_RETRIED = (
    _retried(select(_a.priority), bindparam("engine"))
    .where(_a.priority >= bindparam("least"))
    .order_by(_a.engine_id.desc(), _a.priority.desc())
    .limit(1)
)
"""The highest priority of what came back."""

_WAITING = select(or_(exists(_SHARES.subquery()), exists(_RETRIED.subquery())))
"""Whether a claim would find something."""

_LEASE = (
    update(t.assignment)
    .where(among(_a.pk, "pks"))
    .values(
        state=t.LEASED,
        attempt=_a.attempt + 1,
        lease_owner=bindparam("owner"),
        lease_expires_at=db_now() + cast(bindparam("lease_s"), Double),
    )
)
_COUNT_DOWN = (
    update(t.query)
    .where(among(t.query.c.pk, "pks"))
    .values(n_outstanding=t.query.c.n_outstanding - bindparam("n"))
)
_LOCKED = _LOCKABLE.with_for_update(of=[t.query, t.assignment])
_LOCKED_OR_SKIPPED = _LOCKABLE.with_for_update(of=[t.query, t.assignment], skip_locked=True)


def is_waiting(conn: Connection, engine_id: str, *, min_priority: int) -> bool:
    """True if a claim would find something now; locks nothing.

    Args:
        min_priority: work of a lower one does not count.
    """
    return bool(conn.execute(_WAITING, {"engine": engine_id, "least": min_priority, "most": 1}).scalar())


def claim(
    conn: Connection, engine_id: str, *, owner: str, limit: int, lease_s: float, min_priority: int
) -> tuple[Assignment, ...]:
    """See `ports.jobs.LeaseStore`; empty where others have locked all that waits.

    Args:
        min_priority: work of a lower one stays.

    Raises:
        StoreError: an owner's name that cannot be stored.
    """
    shares = _shares(conn, engine_id, min_priority, limit=JOBS_AT_ONCE)
    retried = conn.execute(_RETRIED, {"engine": engine_id, "least": min_priority}).scalar()
    calls: list[Any] = []
    if shares and (retried is None or rank_of(shares[0].priority) <= rank_of(retried)):
        calls = _pick_fresh(conn, engine_id, divided(shares, limit))
        if not calls:
            recount(conn, [(share.job, engine_id) for share in shares])
    if not calls and retried is not None:
        calls = _pick_retried(conn, engine_id, priority=retried, limit=limit)
    if calls:
        _lease(conn, calls, owner=checked_name("owner", owner), lease_s=lease_s)
    return tuple(_leased(call) for call in sorted(calls, key=itemgetter(0)))


def renew(conn: Connection, owner: str, *, lease_s: float) -> int:
    """See `ports.jobs.LeaseStore`; leases that ran out and that nobody took back are renewed, too."""
    pks = [row.pk for row in _held(conn, owner)]
    renewed = {"lease_expires_at": db_now() + lease_s}
    conn.execute(update(t.assignment).where(among(t.assignment.c.pk, pks)).values(renewed))
    return len(pks)


def held(conn: Connection, owner: str) -> frozenset[int]:
    """Numbers of the assignments under an owner's lease, run out or not."""
    return frozenset(conn.execute(select(t.assignment.c.pk).where(leased_by(owner))).scalars())


def complete(conn: Connection, owner: str, completions: Sequence[Completion]) -> int:
    """See `ports.jobs.LeaseStore`."""
    counts = Counts()
    accepted = accept(conn, owner, completions, counts)
    add_counts(conn, counts)
    return len(accepted)


def accept(conn: Connection, owner: str, completions: Sequence[Completion], counts: Counts) -> frozenset[int]:
    """`complete`, with counts that are added later; the assignments whose responses were accepted."""
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
    store_responses(conn, accepted.values(), counts)
    return frozenset(accepted)


def release(conn: Connection, owner: str, assignment_pks: Sequence[int] | None, *, refund: bool) -> int:
    """Give back the named assignments, or all of the owner; returns how many were its own.

    Args:
        refund: the claim that ends here does not count among their attempts.
    """
    rows, counts = _held(conn, owner, assignment_pks), Counts()
    give_back(conn, rows, counts, refund=refund)
    add_counts(conn, counts)
    return len(rows)


def give_back(conn: Connection, rows: Sequence[Any], counts: Counts, *, refund: bool = False) -> None:
    """Leased assignments that are locked wait again."""
    a = t.assignment.c
    back = {"state": t.WAITING, **_UNLEASED} | ({"attempt": a.attempt - 1} if refund else {})
    conn.execute(update(t.assignment).where(among(a.pk, [row.pk for row in rows])).values(back))
    counts.returned(rows, refunded=int(refund))


def lock(conn: Connection, pks: Sequence[int]) -> list[Any]:
    """Assignments under lock, each after its query; without those that somebody else has locked."""
    return list(conn.execute(_LOCKED_OR_SKIPPED, {"pks": pks}))


def store_responses(conn: Connection, pairs: Iterable[tuple[Any, Response]], counts: Counts) -> None:
    """Close locked assignments with their responses and count down their queries."""
    pairs = list(pairs)
    if not pairs:
        return
    rows = [(row.pk, t.FAILED if response.failed else t.DONE, to_json(response)) for row, response in pairs]
    gone = "lease_owner = NULL, lease_expires_at = NULL"
    update_rows(conn, t.assignment, ("pk", "state", "response"), rows, also=gone)
    _count_down(conn, Counter(row.query_pk for row, _ in pairs))
    counts.update((row.job_pk, "n_responses") for row, _ in pairs)
    counts.gone([row for row, _ in pairs])
    counts.spent.called((row.job_pk, response) for row, response in pairs)


def _shares(conn: Connection, engine_id: str, min_priority: int, *, limit: int) -> list[Share]:
    """Shares with fresh work of the first rank there is, those with the smallest turns."""
    given = {"engine": engine_id, "least": min_priority, "most": limit}
    rows = conn.execute(_SHARES, given).all()
    return [Share(*row[1:]) for row in rows if row.rank == rows[0].rank]


def _pick_retried(conn: Connection, engine_id: str, *, priority: int, limit: int) -> list[Any]:
    """Calls of what was claimed least often."""
    a = t.assignment.c
    of_priority = a.priority == priority
    least = _retried(select(a.attempt), engine_id).where(of_priority)
    least = least.order_by(a.engine_id, a.priority, a.attempt)
    free = least.limit(1).with_for_update(of=t.assignment, skip_locked=True)
    attempt = conn.execute(free).scalar()
    if attempt is None:
        return []
    mine = _retried(_CALLS, engine_id).where(of_priority, a.attempt == attempt).order_by(a.pk)
    some = mine.limit(retry_limit(limit, attempt=attempt))
    return list(conn.execute(some.with_for_update(of=t.assignment, skip_locked=True)))


def _pick_fresh(conn: Connection, engine_id: str, n_of: Mapping[int, int]) -> list[Any]:
    """So many fresh calls of each job, in order; those that somebody else has locked are passed by."""
    a = t.assignment.c
    fresh = (a.state == inline(t.WAITING)) & (a.attempt == inline(0)) & (a.engine_id == engine_id)
    wanted = _CALLS.where(fresh).with_for_update(of=t.assignment, skip_locked=True)
    return of_each_job(conn, wanted, job_pk=a.job_pk, pk=a.pk, n_of=n_of)


def _lease(conn: Connection, calls: Sequence[Any], *, owner: str, lease_s: float) -> None:
    conn.execute(_LEASE, {"pks": [call.pk for call in calls], "owner": owner, "lease_s": lease_s})
    counts = Counts()
    counts.claimed(calls)
    add_counts(conn, counts)


def _held(conn: Connection, owner: str, pks: Sequence[int] | None = None) -> list[Any]:
    """What an owner has leased, locked in the order of everybody."""
    a = t.assignment.c
    mine = select(a.pk, *(a[name] for name in _COUNTED)).where(leased_by(owner))
    if pks is not None:
        mine = mine.where(among(a.pk, pks))
    return list(conn.execute(mine.order_by(*in_order()).with_for_update(key_share=True)))


def leased_by(owner: str) -> ColumnElement[bool]:
    """Condition on assignments: under a lease of this owner, run out or not."""
    return (t.assignment.c.state == inline(t.LEASED)) & (t.assignment.c.lease_owner == owner)


def _leased(row: Any) -> Assignment:
    """The assignment of a row that was read before it was leased."""
    return Assignment(
        id=row.pk,
        job_id=row.job_id,
        query_id=row.query_pk,
        stage=row.stage,
        engine_id=row.engine_id,
        call=call_of(row),
        priority=row.priority,
        attempt=row.attempt + 1,
    )


def _locked(conn: Connection, pks: Sequence[int]) -> list[Any]:
    """Assignments under lock, each after its query (see `tally` for the order)."""
    return list(conn.execute(_LOCKED, {"pks": pks}))


def _count_down(conn: Connection, answered: Counter[int]) -> None:
    by_n: dict[int, list[int]] = defaultdict(list)
    for query_pk, n in answered.items():
        by_n[n].append(query_pk)
    for n, pks in by_n.items():
        conn.execute(_COUNT_DOWN, {"n": n, "pks": pks})
