"""Counters: of jobs, of their shares of engines, of engines. Nobody counts rows to look at the books.

One lock order for all statements, so that no two transactions wait for each other:

1. queries by `pk`, each before its assignments, and those by `pk`;
   budgets by key and period (`spending`) come between these and
2. jobs by `pk`; 3. shares by job and engine; 4. `engine_work` by its key;
5. `usage_count` by its key.

Whoever needs several rows of a kind locks them in one statement, in order. What is taken with SKIP LOCKED
waits for nobody, and may come in any order as long as nothing after it is locked yet. The counters come last,
through `add_counts`, once in a transaction.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Double,
    Select,
    Update,
    bindparam,
    case,
    cast,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from orchestrator.batching.shares import rank_of, weight_of
from orchestrator.domain.assignments import UNDER_WAY, JobState
from orchestrator.store import tables as t
from orchestrator.store.bulk import Record, add_rows, among, among_names, insert_missing
from orchestrator.store.database import db_now, inline
from orchestrator.store.usage import Spent, book

COUNTERS = ("n_completed", "n_failed", "n_assignments", "n_responses", "n_regenerated")

N_STRIPES = 8

SHARE_COLUMNS = (
    *("job_pk", "engine_id", "priority", "rank", "n_waiting", "n_retried", "waiting_tokens", "turn"),
    "since",
)
_UNDER_WAY = [inline(state.value) for state in UNDER_WAY]
_NO_WORK = (0, 0, 0, 0.0, 0.0)
WORK_KEYS = ("engine_id", "priority", "stripe")
WORK_SUMS = ("n_waiting", "waiting_tokens", "n_leased", "leased_tokens")

ShareKey = tuple[int, str]
"""Job and engine."""

WorkKey = tuple[str, int, int]
"""Engine, priority, stripe."""


class Listed(NamedTuple):
    """An assignment, as far as it is counted; rows of the table will do as well."""

    job_pk: int
    engine_id: str
    priority: int
    est_tokens: int
    created_at: float
    attempt: int = 0
    state: str = t.WAITING


class Moved:
    """Sums of what a transaction does to one share."""

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.n_waiting = self.n_retried = self.waiting_tokens = 0
        self.n_leased = self.leased_tokens = 0
        self.n_served = 0
        self.joined_at: float | None = None
        """When the oldest of those that now wait was put on the books."""
        self.served_to: float | None = None
        """When the newest of those that were claimed was put on the books."""

    def wait(self, rows: Sequence[Any], *, n: int, refunded: int = 0) -> None:
        """Assignments of the share wait from now on, or with `n` -1 no longer. `refunded`: what their attempt
        is less by than the rows say."""
        self.n_waiting += n * len(rows)
        self.waiting_tokens += n * sum(row.est_tokens for row in rows)
        self.n_retried += n * sum(row.attempt > refunded for row in rows)

    def lease(self, rows: Sequence[Any], *, n: int) -> None:
        """Assignments of the share are leased from now on, or with `n` -1 no longer."""
        self.n_leased += n * len(rows)
        self.leased_tokens += n * sum(row.est_tokens for row in rows)

    def look_at(self, rows: Sequence[Any]) -> None:
        """Assignments of the share were looked at, as in `Counts.looked_at`."""
        if rows:
            newest = max(row.created_at for row in rows)
            self.served_to = max(self.served_to or newest, newest)


class Counts(Counter[tuple[int, str]]):
    """Counts that a transaction adds to jobs, (job pk, one of `COUNTERS`) -> n, and to shares of engines."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: dict[ShareKey, Moved] = {}
        self.spent = Spent()
        self.is_asking = False
        """Whether shares may be new."""
        self.begun: set[tuple[int, str, int]] = set()
        """Shares (job, engine, priority) of calls that were leased as they were put on the books."""

    def waits(self, rows: Iterable[Any], *, n: int = 1, refunded: int = 0) -> None:
        """Assignments wait from now on, or with `n` -1 no longer. `refunded`: what their attempt is less by
        than the rows say."""
        for key, group in self._groups(rows).items():
            moved = self.moved[key]
            moved.wait(group, n=n, refunded=refunded)
            if n > 0:
                oldest = min(row.created_at for row in group)
                moved.joined_at = min(moved.joined_at or oldest, oldest)

    def leased(self, rows: Iterable[Any], *, n: int = 1) -> None:
        """Assignments are leased from now on, or with `n` -1 no longer."""
        for key, group in self._groups(rows).items():
            self.moved[key].lease(group, n=n)

    def claimed(self, rows: Sequence[Any]) -> None:
        """Waiting assignments are leased from now on; their attempts are still those from before."""
        for key, group in self._groups(rows).items():
            moved = self.moved[key]
            moved.wait(group, n=-1)
            moved.lease(group, n=1)
            moved.n_served += len(group)
            moved.look_at([row for row in group if row.attempt == 0])

    def looked_at(self, rows: Iterable[Any]) -> None:
        """Nothing waits any more that was put on the books before these assignments."""
        for key, group in self._groups(rows).items():
            self.moved[key].look_at(group)

    def returned(self, rows: Sequence[Any], *, refunded: int = 0) -> None:
        """Leased assignments wait again; `refunded` as in `waits`."""
        self.leased(rows, n=-1)
        self.waits(rows, refunded=refunded)

    def gone(self, rows: Sequence[Any]) -> None:
        """Assignments that waited or were leased are neither from now on."""
        self.leased((row for row in rows if row.state == t.LEASED), n=-1)
        self.waits((row for row in rows if row.state == t.WAITING), n=-1)

    def _groups(self, rows: Iterable[Any]) -> dict[ShareKey, list[Any]]:
        """Rows by their share."""
        groups: dict[ShareKey, list[Any]] = defaultdict(list)
        for row in rows:
            groups[row.job_pk, row.engine_id].append(row)
        for key, group in groups.items():
            if key not in self.moved:
                self.moved[key] = Moved(group[0].priority)
        return groups


def in_order() -> tuple[ColumnElement[int], ColumnElement[int]]:
    """Assignments as everybody locks them. An expression, lest an index is walked for the sake of order."""
    return t.assignment.c.query_pk + inline(0), t.assignment.c.pk


def add_counts(conn: Connection, counts: Counts) -> None:
    """Add to the counters, in their order, and close the jobs whose last query was answered."""
    payloads: dict[int, str] = {}
    spenders = counts.spent.job_pks
    for job_pk, group in groupby(sorted(counts.items()), key=lambda item: item[0][0]):
        added = {name: n for (_, name), n in group}
        values = {"b_pk": job_pk, **{f"b_{name}": n for name, n in added.items()}}
        if job_pk in spenders:
            payloads[job_pk] = conn.execute(_adding_told(tuple(added)), values).scalar_one()
        else:
            conn.execute(_adding(tuple(added)), values)
        if "n_completed" in added or "n_failed" in added:
            close_if_finished(conn, job_pk)
    waiting = {key: moved for key, moved in sorted(counts.moved.items()) if _is_of_share(moved)}
    if counts.is_asking:
        new = {(*key, moved.priority) for key, moved in waiting.items()}
        open_shares(conn, sorted(new | counts.begun))
    is_open = _lock(conn, waiting)
    _move_shares(conn, {key: moved for key, moved in waiting.items() if key in is_open})
    move_work(conn, _work(counts.moved, is_open))
    book(conn, counts.spent, payloads)


@lru_cache
def _adding(names: tuple[str, ...]) -> Update:
    values = {name: t.job.c[name] + bindparam(f"b_{name}") for name in names}
    return update(t.job).where(t.job.c.pk == bindparam("b_pk")).values(**values)


@lru_cache
def _adding_told(names: tuple[str, ...]) -> ReturningUpdate[Any]:
    """`_adding`, and what the job says of itself."""
    return _adding(names).returning(t.job.c.payload)


def close_if_finished(conn: Connection, job_pk: int) -> None:
    """End a job all of whose queries have ended, as what it was on its way to."""
    closed = conn.execute(_closing(), {"b_pk": job_pk})
    if closed.rowcount:
        conn.execute(_owing_no_bell(), {"b_pk": job_pk})
        conn.execute(_sharing_no_more(), {"b_pk": job_pk})


@lru_cache
def _closing() -> Update:
    finished = t.job.c.n_completed + t.job.c.n_failed == t.job.c.n_total
    ended = case(
        (t.job.c.state == inline(JobState.CANCELLING.value), inline(JobState.CANCELLED.value)),
        (t.job.c.state == inline(JobState.EXPIRING.value), inline(JobState.EXPIRED.value)),
        else_=inline(JobState.DONE.value),
    )
    return (
        update(t.job)
        .where(t.job.c.pk == bindparam("b_pk"), t.job.c.state.in_(_UNDER_WAY), finished)
        .values(state=ended, finished_at=db_now())
    )


@lru_cache
def _owing_no_bell() -> Delete:
    """Nobody needs to be told of a job that has ended; without a broker nobody would take its bell away."""
    owed = select(t.outbox.c.pk).where(t.outbox.c.job_pk == bindparam("b_pk"))
    return delete(t.outbox).where(t.outbox.c.pk.in_(owed.with_for_update(skip_locked=True)))


@lru_cache
def _sharing_no_more() -> Delete:
    return delete(t.share).where(t.share.c.job_pk == bindparam("b_pk"))


def close_shares(conn: Connection, job_pks: Iterable[int]) -> None:
    """Nothing of these jobs can be claimed any more, nor counts as waiting. Their rows are locked."""
    pks, shares = list(job_pks), t.share.c
    mine = among(shares.job_pk, pks)
    closed = conn.execute(
        select(shares.job_pk, shares.engine_id, shares.priority, shares.n_waiting, shares.waiting_tokens)
        .where(mine)
        .order_by(shares.job_pk, shares.engine_id)
        .with_for_update()
    ).all()
    work: dict[WorkKey, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for share in closed:
        sums = work[work_key(share.job_pk, share.engine_id, share.priority)]
        sums[0] -= share.n_waiting
        sums[1] -= share.waiting_tokens
    conn.execute(delete(t.share).where(mine))
    move_work(conn, work)


def open_shares(conn: Connection, shares: Iterable[tuple[int, str, int]]) -> None:
    """Shares (job, engine, priority; in order) that are not there yet, of jobs that run and are locked."""
    wanted = list(shares)
    if not wanted:
        return
    pks = set(conn.execute(_running(), {"pks": sorted({share[0] for share in wanted})}).scalars())
    keys: list[Record] = [(job_pk, engine_id) for job_pk, engine_id, _ in wanted]
    insert_missing(conn, t.job_engine, ("job_pk", "engine_id"), keys)
    rows: list[Record] = [
        (job_pk, engine_id, priority, rank_of(priority), *_NO_WORK)
        for job_pk, engine_id, priority in wanted
        if job_pk in pks
    ]
    insert_missing(conn, t.share, SHARE_COLUMNS, rows)


@lru_cache
def _running() -> Select[Any]:
    """Those of these jobs that run."""
    j = t.job.c
    return select(j.pk).where(among(j.pk, "pks"), j.state == inline(JobState.RUNNING.value))


def _is_of_share(moved: Moved) -> bool:
    return bool(moved.n_waiting or moved.n_retried or moved.n_served or moved.joined_at is not None)


def _lock(conn: Connection, waiting: Iterable[ShareKey]) -> set[ShareKey]:
    """Locks those of these shares that are there, in order."""
    keys = list(waiting)
    if not keys:
        return set()
    given = {
        "pks": sorted({job_pk for job_pk, _ in keys}),
        "engines": sorted({engine_id for _, engine_id in keys}),
    }
    return {(row.job_pk, row.engine_id) for row in conn.execute(_locking(), given)}


@lru_cache
def _locking() -> Select[tuple[int, str]]:
    s = t.share.c
    return (
        select(s.job_pk, s.engine_id)
        .where(among(s.job_pk, "pks"), among_names(s.engine_id, "engines"))
        .order_by(s.job_pk, s.engine_id)
        .with_for_update()
    )


def _share_update() -> Any:
    """A share that had nothing waiting joins at the smallest turn that waits for its engine."""
    e, other = t.share.c, t.share.alias("other")
    joined = cast(bindparam("joined_at"), Double)
    served = cast(bindparam("served_to"), Double)
    smallest = (
        select(func.min(other.c.turn))
        .where(
            other.c.engine_id == e.engine_id,
            other.c.rank == e.rank,
            other.c.n_waiting > other.c.n_retried,
        )
        .correlate(t.share)
        .scalar_subquery()
    )
    is_new = (e.n_waiting == 0) & joined.is_not(None)
    return (
        update(t.share)
        .where(e.job_pk == bindparam("job"), e.engine_id == bindparam("engine"))
        .values(
            n_waiting=e.n_waiting + bindparam("waiting"),
            n_retried=e.n_retried + bindparam("retried"),
            waiting_tokens=e.waiting_tokens + bindparam("tokens"),
            turn=case((is_new & (smallest > e.turn), smallest), else_=e.turn) + bindparam("served"),
            since=case(
                (is_new | (joined < e.since), joined),
                (served > e.since, served),
                else_=e.since,
            ),
        )
    )


_SHARE_UPDATE = _share_update()


def _move_shares(conn: Connection, waiting: dict[ShareKey, Moved]) -> None:
    if waiting:
        conn.execute(
            _SHARE_UPDATE,
            [
                {
                    "job": job_pk,
                    "engine": engine_id,
                    "waiting": moved.n_waiting,
                    "retried": moved.n_retried,
                    "tokens": moved.waiting_tokens,
                    "served": moved.n_served / weight_of(moved.priority),
                    "joined_at": moved.joined_at,
                    "served_to": moved.served_to,
                }
                for (job_pk, engine_id), moved in waiting.items()
            ],
        )


def _work(moved: dict[ShareKey, Moved], is_open: set[ShareKey]) -> dict[WorkKey, list[int]]:
    """What waits of a job without a share was subtracted when that was closed."""
    work: dict[WorkKey, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for (job_pk, engine_id), change in moved.items():
        sums = work[work_key(job_pk, engine_id, change.priority)]
        if (job_pk, engine_id) in is_open:
            sums[0] += change.n_waiting
            sums[1] += change.waiting_tokens
        sums[2] += change.n_leased
        sums[3] += change.leased_tokens
    return work


def work_key(job_pk: int, engine_id: str, priority: int) -> WorkKey:
    """Key of the counters that a job's work for an engine is in: a stripe of its number."""
    return engine_id, priority, job_pk % N_STRIPES


def move_work(conn: Connection, work: dict[WorkKey, list[int]]) -> None:
    """Add to the counters of engines.

    Args:
        work: by key, what is added of `WORK_SUMS`, in that order.
    """
    rows: list[Record] = [(*key, *sums) for key, sums in sorted(work.items()) if any(sums)]
    add_rows(conn, t.engine_work, WORK_KEYS, WORK_SUMS, rows)
