"""Pages of what is stored: `ports.pages.PageReader` over the database."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, select, tuple_

from orchestrator.domain.assignments import JobProgress, Turns
from orchestrator.domain.merges import MergeJob
from orchestrator.domain.pages import Page, PageRequest, cut, nothing_after
from orchestrator.ports.jobs import AnsweredQuery
from orchestrator.store import tables as t
from orchestrator.store.codec import is_name
from orchestrator.store.database import Database, inline
from orchestrator.store.departed import beyond, place_of
from orchestrator.store.reading import progress_of_rows, some_answers
from orchestrator.store.submission import job_pk_of


class SqlPages:
    """Lists of jobs and merges."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def job_page(
        self, request: PageRequest, *, owner: str | None = None, kind: str | None = None
    ) -> Page[JobProgress]:
        """See `ports.pages`."""
        return self._db.fetch(lambda conn: _jobs(conn, request, owner, kind))

    def has_left(self, job_id: str, *, owner: str | None = None) -> bool:
        """See `ports.pages`."""
        return self._db.fetch(lambda conn: place_of(conn, t.job.name, job_id, owner=owner)) is not None

    def some_answers(self, job_id: str, *, limit: int, failed: bool = False) -> list[AnsweredQuery]:
        """See `ports.pages`."""
        return self._db.fetch(lambda conn: some_answers(conn, job_id, limit=limit, failed=failed))

    def turns(self, job_id: str) -> Turns:
        """See `ports.pages`."""
        return self._db.fetch(lambda conn: _turns(conn, job_id))

    def merge_page(self, request: PageRequest) -> Page[MergeJob]:
        """See `ports.pages`."""
        return self._db.fetch(lambda conn: _merges(conn, request))


def _jobs(conn: Connection, request: PageRequest, owner: str | None, kind: str | None) -> Page[JobProgress]:
    j = t.job.c
    mine = j.state != inline(t.DELETED)
    if owner:  # as the index spells it
        mine &= (j.owner == owner) & (j.owner != inline(""))
    elif owner == "":
        mine &= j.owner == inline("")
    if kind is not None:
        mine &= j.kind == kind
    pks = select(j.pk).where(mine)
    if request.after is not None:
        pks = pks.where(_beyond(conn, mine, request, request.after, owner))
    order = j.pk.desc() if request.is_newest_first else j.pk
    found = conn.execute(pks.order_by(order).limit(request.limit + 1)).scalars().all()
    return cut(progress_of_rows(conn, found), request.limit)


def _beyond(
    conn: Connection, mine: ColumnElement[bool], request: PageRequest, after: str, owner: str | None
) -> ColumnElement[bool]:
    """Condition of the jobs after one of them, which may have been deleted since."""
    j = t.job.c
    place = conn.execute(select(j.pk).where(mine, j.id == after)).scalar() if is_name(after) else None
    is_left = place is None
    if is_left:
        place = place_of(conn, t.job.name, after, owner=owner)
    if place is None:
        raise nothing_after(after)
    return beyond(j.pk, place, is_left=is_left, goes_down=request.is_newest_first)


def _turns(conn: Connection, job_id: str) -> Turns:
    mine, others = t.share.alias("mine"), t.share.alias("others")
    job_pk = job_pk_of(conn, job_id)
    waits = (mine.c.job_pk == job_pk) & (mine.c.n_waiting > inline(0))
    engines = select(mine.c.engine_id).where(waits)
    beside = (others.c.job_pk != job_pk) & (others.c.n_waiting > inline(0)) & others.c.engine_id.in_(engines)
    counts = select(
        func.count(func.distinct(others.c.job_pk)),
        func.count(func.distinct(case((others.c.job_pk < job_pk, others.c.job_pk)))),
        func.coalesce(func.sum(others.c.n_waiting), 0),
    ).where(beside)
    return Turns(*map(int, conn.execute(counts).one()))


def _merges(conn: Connection, request: PageRequest) -> Page[MergeJob]:
    m = t.merge_job.c
    place = tuple_(m.created_at, m.id)
    wanted = select(m.payload)
    if request.after is not None:
        start = _cursor(conn, select(m.created_at, m.id).where(m.id == request.after), request.after)
        before = tuple_(start.created_at, start.id)
        wanted = wanted.where(place < before if request.is_newest_first else place > before)
    order = (m.created_at.desc(), m.id.desc()) if request.is_newest_first else (m.created_at, m.id)
    rows = conn.execute(wanted.order_by(*order).limit(request.limit + 1)).scalars()
    return cut([MergeJob.model_validate_json(payload) for payload in rows], request.limit)


def _cursor(conn: Connection, wanted: Select[Any], name: str) -> Any:
    found = conn.execute(wanted).first() if is_name(name) else None
    if found is None:
        raise nothing_after(name)
    return found
