"""Sweeps: leases that ran out, work that is worn out, jobs that end early. Each bit is a transaction of its
own, and of several sweepers one works while the others pass by."""

import math
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, func, select, text, update

from orchestrator.domain.assignments import Response
from orchestrator.ports.jobs import LeaseTimes, SweepReport
from orchestrator.store import audit, devices, ending
from orchestrator.store import tables as t
from orchestrator.store.bulk import among
from orchestrator.store.claims import give_back, leased_by, lock, store_responses
from orchestrator.store.codec import failed_response
from orchestrator.store.database import Database, chunked, db_now, inline
from orchestrator.store.picking import of_each_job
from orchestrator.store.tally import Counts, add_counts

CHUNK = 500
"""Assignments that are taken back in one transaction."""

JOBS_AT_ONCE = 64
"""Jobs whose waiting work is given up in one transaction."""

_SWEEPING = 0x6D757377
"""PostgreSQL's advisory lock of a sweeper's transactions; on SQLite the write lock serves."""

T = TypeVar("T")


class Limits(NamedTuple):
    """Limits of a sweep: claims of an assignment before it is poison; engines by which no prompt can kill a
    worker; owners whose leases are not looked at; how far in the future a lease may end."""

    max_attempts: int
    harmless: frozenset[str] = frozenset()
    spared: frozenset[str] = frozenset()
    max_lease_s: float = math.inf


def lease_times(conn: Connection) -> LeaseTimes:
    """See `ports.jobs.LeaseStore`; leases that ran out are among them."""
    a = t.assignment.c
    now = conn.execute(select(db_now())).scalar_one()
    last = select(a.lease_owner, func.max(a.lease_expires_at)).where(a.state == inline(t.LEASED))
    rows = conn.execute(last.group_by(a.lease_owner)).all()
    return LeaseTimes(now, {str(row[0]): float(row[1]) for row in rows})


def sweep(database: Database, limits: Limits, *, audited: bool) -> SweepReport:
    """One sweep; another sweeper that is at work leaves nothing to do. `audited`: counters as well."""
    database.transact(_alone(devices.forget_gone))
    if audited:
        database.transact(_alone(audit.mend))
    if math.isfinite(limits.max_lease_s):
        database.transact(_alone(partial(_cap, max_lease_s=limits.max_lease_s)))
    a = t.assignment.c
    expired = (a.state == inline(t.LEASED)) & (a.lease_expires_at < db_now())
    if limits.spared:
        expired &= a.lease_owner.not_in(sorted(limits.spared))
    return _end_leases(database, expired, lambda row: bool(row.is_expired), limits, alone=True)


def bury(database: Database, owner: str, limits: Limits) -> SweepReport:
    """Take the leases of a dead owner."""
    return _end_leases(database, leased_by(owner), lambda row: row.lease_owner == owner, limits)


def end_jobs(database: Database, *, for_s: float, deadlines: bool) -> int:
    """Mark jobs that are past their deadline, then end marked jobs for a while; returns how many were marked.
    Without `deadlines`, none is looked at."""
    n_expired = (database.transact(_alone(ending.expire)) or 0) if deadlines else 0
    until = time.monotonic() + for_s
    for job_pk in database.fetch(ending.ending):
        after: int | None = -1
        while after is not None:
            after = database.transact(_alone(partial(ending.end_some, job_pk=job_pk, after=after)))
            if time.monotonic() >= until:
                return n_expired
    return n_expired


def _alone(work: Callable[[Connection], T]) -> Callable[[Connection], T | None]:
    """The same work, unless another sweeper does some just now."""

    def tried(conn: Connection) -> T | None:
        if conn.dialect.name == "postgresql":
            free = conn.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _SWEEPING}).scalar()
            if not free:
                return None
        return work(conn)

    return tried


def _cap(conn: Connection, *, max_lease_s: float) -> None:
    """A lease that ends later than any that is given today was given by a clock that has been set back."""
    a = t.assignment.c
    latest = db_now() + max_lease_s
    far = select(a.pk).where(a.state == inline(t.LEASED), a.lease_expires_at > latest)
    pks = list(conn.execute(far.with_for_update(key_share=True, skip_locked=True)).scalars())
    if pks:
        conn.execute(update(t.assignment).where(among(a.pk, pks)).values(lease_expires_at=latest))


def give_up(
    conn: Connection, engine_id: str, *, code: str, error: str, min_priority: int, waited_s: float, limit: int
) -> int:
    """Fail what waits for an engine too long already: the first assignments of the jobs that wait longest."""
    a, s = t.assignment.c, t.share.c
    latest = conn.execute(select(db_now() - waited_s)).scalar_one()
    jobs = select(s.job_pk).where(
        s.engine_id == engine_id, s.n_waiting > inline(0), s.priority >= min_priority
    )
    old = conn.execute(jobs.where(s.since <= latest).order_by(s.job_pk).limit(JOBS_AT_ONCE)).scalars()
    n_of = dict.fromkeys(old, limit)
    waiting = select(a.pk, a.created_at).where(a.state == inline(t.WAITING), a.engine_id == engine_id)
    found: list[Any] = []
    for of_attempt in (a.attempt == inline(0), a.attempt > inline(0)) if n_of else ():
        found += of_each_job(conn, waiting.where(of_attempt), job_pk=a.job_pk, pk=a.pk, n_of=n_of)
    pks = sorted(row.pk for row in found if row.created_at <= latest)[:limit]
    rows, counts = [row for row in lock(conn, pks) if row.state == t.WAITING], Counts()
    store_responses(conn, ((row, _failed(row, code, error)) for row in rows), counts)
    counts.looked_at(rows)
    add_counts(conn, counts)
    return len(rows)


def _end_leases(
    database: Database,
    wanted: ColumnElement[bool],
    is_over: Callable[[Any], bool],
    limits: Limits,
    *,
    alone: bool = False,
) -> SweepReport:
    """Take leases from owners that are dead, or seem so, some at a time. `is_over` is asked again under lock:
    somebody else may have done it meanwhile."""
    a = t.assignment.c
    due = select(a.query_pk, a.pk).where(wanted)
    pks = [row.pk for row in database.fetch(lambda conn: sorted(conn.execute(due).all()))]
    lone = database.fetch(partial(_lone, harmless=limits.harmless)) if pks else set()
    n_released = n_poisoned = 0
    for chunk in chunked(pks, CHUNK):
        some = partial(_take_back, chunk, is_over, lone, limits)
        released, poisoned = database.transact(_alone(some) if alone else some) or (0, 0)
        n_released += released
        n_poisoned += poisoned
    return SweepReport(n_released, n_poisoned)


def _lone(conn: Connection, *, harmless: Collection[str]) -> set[int]:
    """Assignments beside which their owner holds nothing that could have killed it."""
    a = t.assignment.c
    leased = select(func.min(a.pk)).where(a.state == inline(t.LEASED))
    if harmless:
        leased = leased.where(a.engine_id.not_in(sorted(harmless)))
    return set(conn.execute(leased.group_by(a.lease_owner).having(func.count() == inline(1))).scalars())


def _take_back(
    pks: Sequence[int], is_over: Callable[[Any], bool], lone: set[int], limits: Limits, conn: Connection
) -> tuple[int, int]:
    """To the queue; the attempt counts, unless the engine is one that no prompt can kill a worker by."""
    rows, counts = [row for row in lock(conn, pks) if row.state == t.LEASED and is_over(row)], Counts()
    poison = [row for row in rows if row.pk in lone and row.attempt >= limits.max_attempts]
    back = [row for row in rows if row not in poison]
    error = "Every worker that tried this prompt died; it is not tried again."
    store_responses(conn, ((row, _failed(row, "poison", error)) for row in poison), counts)
    for refund in (False, True):
        some = [row for row in back if (row.engine_id in limits.harmless) == refund]
        give_back(conn, some, counts, refund=refund)
    add_counts(conn, counts)
    return len(back), len(poison)


def _failed(row: Any, code: str, error: str) -> Response:
    return failed_response(
        expert_id=row.expert_id,
        role=row.role,
        stage=row.stage,
        sample_ix=row.sample_ix,
        code=code,
        error=error,
    )
