"""Queries that are ready for their next step: of the highest priority, fairly of all jobs."""

import math
import random
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Select,
    bindparam,
    cast,
    func,
    select,
    update,
)

from orchestrator.domain.assignments import BACKGROUND, INTERACTIVE, JobState, QueryState
from orchestrator.store import tables as t
from orchestrator.store.bulk import among
from orchestrator.store.database import chunked, db_now, inline
from orchestrator.store.picking import of_each_job, ready_jobs
from orchestrator.store.steps import states_of

LONGEST_S = 600.0
"""A mark that ends later was made by a clock that has been set back since."""

JOBS_AT_ONCE, FEW_JOBS = 64, 16
"""Batches that are looked for together, and that steps are taken of together, at least."""

_TAKEN = (
    update(t.query)
    .where(among(t.query.c.pk, "pks"))
    .values(stepped_until=db_now() + cast(bindparam("for_s"), Double))
)


class Wanted(NamedTuple):
    """Ready queries that somebody would step: of one job (None = of all) but `without` these jobs, and of at
    least so much priority."""

    job_id: str | None
    without: frozenset[str]
    min_priority: int


def ready(conn: Connection, *, limit: int, job_id: str | None) -> list[QueryState]:
    """Open queries that wait for no call, of the highest priority there is, in submission order."""
    wanted = Wanted(job_id, frozenset(), BACKGROUND)
    return states_of(conn, _ready_rows(conn, _Look(limit, wanted, is_free=False)))


def free_ready(conn: Connection, *, limit: int, wanted: Wanted) -> list[QueryState]:
    """Queries as `ready` finds them, without those that somebody took, or that wait to be tried again."""
    return states_of(conn, _free_rows(conn, limit=limit, wanted=wanted))


def take_ready(conn: Connection, *, limit: int, for_s: float, wanted: Wanted) -> list[QueryState]:
    """Queries as `free_ready` finds them; they are the caller's for `for_s` seconds."""
    rows = _free_rows(conn, limit=limit, wanted=wanted, locked=True)
    if rows:
        conn.execute(_TAKEN, {"pks": [row.pk for row in rows], "for_s": for_s})
    return states_of(conn, rows)


def is_ready(conn: Connection, wanted: Wanted) -> bool:
    """False if `take_ready` would find nothing; a look that locks nothing, and costs one statement."""
    priority = conn.execute(_top()).scalar()
    return priority is not None and priority >= wanted.min_priority


@cache
def _routing() -> Select[tuple[int]]:
    return select(t.query.c.pk).where(_is_waiting(), t.query.c.stage == inline(0)).limit(1)


def is_routing(conn: Connection) -> bool:
    """See `ports.jobs.WaitingReader`."""
    return conn.execute(_routing()).first() is not None


def _queries() -> Select[Any]:
    q = t.query.c
    return (
        select(q.pk, q.payload, q.stage, q.step_attempt, t.job.c.id.label("job_id"))
        .join(t.job)
        .where(t.job.c.state == inline(JobState.RUNNING.value))
    )


def _free_rows(conn: Connection, *, limit: int, wanted: Wanted, locked: bool = False) -> list[Any]:
    return _ready_rows(conn, _Look(limit, wanted, is_free=True, locked=locked))


class _Look(NamedTuple):
    """What ready queries are looked for. `is_free`: those that nobody took; `locked`: under lock."""

    limit: int
    wanted: Wanted
    is_free: bool
    locked: bool = False

    @property
    def queries(self) -> Select[Any]:
        found = _queries_of(self.is_free, self.locked, self.wanted.job_id is not None)
        without = self.wanted.without
        return found.where(t.job.c.id.not_in(sorted(without))) if without else found

    @property
    def questions(self) -> Select[Any]:
        if self.wanted.without:
            return _in_line(self.queries)
        return _questions_of(self.is_free, self.locked, self.wanted.job_id is not None)

    @property
    def job(self) -> dict[str, object]:
        """Parameter of `queries`."""
        return {} if self.wanted.job_id is None else {"job": self.wanted.job_id}


@cache
def _queries_of(is_free: bool, locked: bool, of_job: bool) -> Select[Any]:
    found = _queries().where(_is_waiting())
    if locked:
        found = found.with_for_update(of=t.query, skip_locked=True)
    if is_free:
        found = found.where(_is_free())
    return found.where(t.job.c.id == bindparam("job")) if of_job else found


@cache
def _questions_of(is_free: bool, locked: bool, of_job: bool) -> Select[Any]:
    return _in_line(_queries_of(is_free, locked, of_job))


def _in_line(queries: Select[Any]) -> Select[Any]:
    """Those of one priority, first come, first served; with their jobs, as each is of another."""
    q = t.query.c
    first = queries.where(q.priority == bindparam("priority")).order_by(q.job_pk, q.pk)
    return first.add_columns(t.job.c.payload.label("job")).limit(bindparam("most"))


def _is_free() -> ColumnElement[bool]:
    until = t.query.c.stepped_until
    return until.is_(None) | (until <= db_now()) | (until > db_now() + LONGEST_S)


def _ready_rows(conn: Connection, look: _Look) -> list[Any]:
    """Of the highest priority of which there are any: a question is not stepped together with a batch."""
    priority = conn.execute(_top()).scalar()
    while priority is not None and priority >= look.wanted.min_priority:
        pick = _interactive_rows if priority >= INTERACTIVE else _batch_rows
        if rows := pick(conn, look, priority):
            return rows
        priority = conn.execute(_top_below(), {"priority": priority}).scalar()
    return []


@cache
def _top() -> Select[Any]:
    """The highest priority of ready queries."""
    return select(func.max(t.query.c.priority)).where(_is_waiting())


@cache
def _top_below() -> Select[Any]:
    return _top().where(t.query.c.priority < bindparam("priority"))


def _interactive_rows(conn: Connection, look: _Look, priority: int) -> list[Any]:
    return list(conn.execute(look.questions, {"priority": priority, "most": look.limit, **look.job}))


def _batch_rows(conn: Connection, look: _Look, priority: int) -> list[Any]:
    """As many of each job."""
    q, limit = t.query.c, look.limit
    of_priority = look.queries.where(q.priority == priority)
    if look.wanted.job_id is not None:
        of_priority = of_priority.params(look.job)
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
