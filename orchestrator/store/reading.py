"""A job as users see it: progress, answers and responses, streamed page by page."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Any, Literal

from sqlalchemy import Connection, Select, bindparam, exists, func, select

from orchestrator.domain.answers import Answer, Decision
from orchestrator.domain.assignments import UNDER_WAY, Job, JobProgress, JobState, Response
from orchestrator.domain.devices import EngineLoad, LoadKind
from orchestrator.domain.keys import nothing_found
from orchestrator.domain.queries import Query
from orchestrator.errors import InputError, NotFoundError
from orchestrator.ports.jobs import AnsweredCall, AnsweredQuery, QueryRecord
from orchestrator.store import tables as t
from orchestrator.store.codec import answer_from_json, is_name, shown
from orchestrator.store.database import Database, chunked, db_now, inline
from orchestrator.store.steps import calls_of, decision_of_query, responses_of
from orchestrator.store.submission import job_pk_of

PAGE = 500
SHADOW = "shadow"
"""Kind of shadow jobs."""


def progress(conn: Connection, job_id: str) -> JobProgress:
    """Progress of one job.

    Raises:
        NotFoundError: no such job.
    """
    row = conn.execute(_job(), {"id": job_id}).first() if is_name(job_id) else None
    if row is None:
        raise nothing_found("job", shown(job_id))
    return _progress(row)


@cache
def _job() -> Select[Any]:
    """One job by its `id`; made once, since each question is looked at a few times."""
    return _jobs().where(t.job.c.id == bindparam("id"))


def states_of(conn: Connection, job_ids: Iterable[str]) -> dict[str, JobState]:
    """States of these jobs, without those that there are not."""
    found: dict[str, JobState] = {}
    for names in chunked(filter(is_name, job_ids), PAGE):
        found |= {name: JobState(state) for name, state in conn.execute(_states(), {"names": names})}
    return found


@cache
def _states() -> Select[Any]:
    """States of the jobs of these `names`; made once, since whoever waits for an answer looks twice."""
    return select(t.job.c.id, t.job.c.state).where(t.job.c.id.in_(bindparam("names", expanding=True)))


def progress_of(conn: Connection, job_ids: Iterable[str]) -> dict[str, JobProgress]:
    """Progress of these jobs, without those that there are not."""
    found: dict[str, JobProgress] = {}
    for names in chunked(filter(is_name, job_ids), PAGE):
        rows = conn.execute(_jobs().where(t.job.c.id.in_(names)))
        found |= {row.id: _progress(row) for row in rows}
    return found


def progress_of_rows(conn: Connection, job_pks: Sequence[int]) -> list[JobProgress]:
    """Progress of jobs by their numbers, in this order."""
    rows = {row.pk: row for row in conn.execute(_jobs().where(t.job.c.pk.in_(job_pks)))}
    return [_progress(rows[pk]) for pk in job_pks if pk in rows]


def newest(conn: Connection, *, limit: int, owner: str | None = None) -> list[JobProgress]:
    """Progress of jobs: running ones first, then the others; newest first within both. `owner`: whose; None =
    everybody's."""
    running, others = _newest("all" if owner is None else "a key's" if owner else "nobody's")
    whose = {"owner": owner} if owner else {}
    rows = list(conn.execute(running, {"most": limit, **whose}))
    if len(rows) < limit:
        rows += conn.execute(others, {"most": limit - len(rows), **whose})
    return [_progress(row) for row in rows]


@cache
def _newest(whose: Literal["all", "a key's", "nobody's"]) -> tuple[Select[Any], Select[Any]]:
    """Jobs that have not ended, and the others; the newest `most`, all or those of one `owner`."""
    newest_first = _jobs().order_by(t.job.c.pk.desc()).limit(bindparam("most"))
    if whose == "a key's":  # as the index spells it
        newest_first = newest_first.where(t.job.c.owner == bindparam("owner"), t.job.c.owner != inline(""))
    elif whose == "nobody's":
        newest_first = newest_first.where(t.job.c.owner == inline(""))
    running = t.job.c.state.in_([inline(state.value) for state in UNDER_WAY])
    return newest_first.where(running), newest_first.where(~running, t.job.c.state != inline(t.DELETED))


def n_under_way(conn: Connection, *, limit: int) -> int:
    """See `ports.jobs.StoreHealth`."""
    some = select(t.job.c.pk).where(t.job.c.state.in_([inline(state.value) for state in UNDER_WAY]))
    return conn.execute(select(func.count()).select_from(some.limit(limit).subquery())).scalar_one()


def answers(database: Database, job_id: str) -> Iterator[AnsweredQuery]:
    """See `ports.jobs.ResultReader`; a page is one transaction."""
    for page in _pages(database, job_id, _with_answer()):
        for row in page:
            if row.answer is not None:
                yield AnsweredQuery(Query.model_validate_json(row.payload), _answer(row))


def some_answers(conn: Connection, job_id: str, *, limit: int, failed: bool) -> list[AnsweredQuery]:
    """The first answered queries of a job; `failed`: of those that failed."""
    ended = (t.FAILED,) if failed else (t.COMPLETED, t.FAILED)
    of_job = _with_answer().where(t.query.c.job_pk == job_pk_of(conn, job_id), t.query.c.state.in_(ended))
    rows = conn.execute(of_job.order_by(t.query.c.ix).limit(limit)).all()
    return [
        AnsweredQuery(Query.model_validate_json(row.payload), _answer(row))
        for row in rows
        if row.answer is not None
    ]


def first_answer(conn: Connection, job_id: str) -> Answer | None:
    """See `ports.jobs.ResultReader.answer`; None = there is none yet.

    Raises:
        NotFoundError: no such job.
    """
    row = conn.execute(_first(), {"id": job_id}).first() if is_name(job_id) else None
    if row is None:
        job_pk_of(conn, job_id)  # there may be no such job
        return None
    return None if row.answer is None else _answer(row)


@cache
def _first() -> Select[Any]:
    """The first line of the job of an `id`."""
    of_job = _with_answer().join(t.job, t.job.c.pk == t.query.c.job_pk).where(t.job.c.id == bindparam("id"))
    return of_job.order_by(t.query.c.ix).limit(1)


def last_decision(conn: Connection, owner: str, session: str) -> Decision | None:
    """The decision of a conversation's last turn that has one."""
    if not session or not is_name(session):
        return None
    j, p = t.job.c, t.prompt.c
    turns = select(p.decision).join(t.query, t.query.c.pk == p.query_pk).join(t.job)
    mine = turns.where(
        j.owner == owner, j.session == session, j.session != inline(""), p.decision.is_not(None)
    )
    payload = conn.execute(mine.order_by(j.pk.desc(), t.query.c.ix, p.stage.desc()).limit(1)).scalar()
    return None if payload is None else Decision.model_validate_json(payload)


def n_shadows(conn: Connection, *, limit: int) -> int:
    """Shadow jobs that have not ended, up to `limit`."""
    j = t.job.c
    some = select(j.pk).where(j.state.in_(UNDER_WAY), j.kind == SHADOW).limit(limit)
    return conn.execute(select(func.count()).select_from(some.subquery())).scalar_one()


def ended_shadows(conn: Connection, *, limit: int) -> list[str]:
    """Ids of ended shadow jobs, the latest first."""
    j = t.job.c
    ended = select(j.id).where(j.kind == SHADOW, j.finished_at.is_not(None)).order_by(j.finished_at.desc())
    return list(conn.execute(ended.limit(limit)).scalars())


def query_record(conn: Connection, job_id: str, query_id: str | None) -> QueryRecord:
    """One query of a job by its id; None = the only one.

    Raises:
        NotFoundError: no such job or query.
        InputError: None, and the job has several.
    """
    mine = _with_answer().where(t.query.c.job_pk == job_pk_of(conn, job_id)).order_by(t.query.c.ix).limit(2)
    wanted = mine if query_id is None else mine.where(t.query.c.custom_id == query_id)
    rows = conn.execute(wanted).all() if query_id is None or is_name(query_id) else []
    if not rows:
        raise NotFoundError(
            f"job '{job_id}' has no query{'' if query_id is None else f' {query_id!r}'}.", param="query"
        )
    if query_id is None and len(rows) > 1:
        raise InputError(f"job '{job_id}' has several queries.", param="query", remedy="Name one by its id.")
    found = tuple(responses_of(conn, [rows[0].pk]).get(rows[0].pk, ()))
    answer = None if rows[0].answer is None else _answer(rows[0])
    decided = None if rows[0].decision is None else Decision.model_validate_json(rows[0].decision)
    return QueryRecord(Query.model_validate_json(rows[0].payload), answer, found, decided)


def responses(database: Database, job_id: str) -> Iterator[tuple[Query, tuple[Response, ...]]]:
    """See `ports.jobs.ResultReader`; a page is one transaction."""
    for page in _pages(database, job_id, select(t.query.c.pk, t.query.c.ix, t.query.c.payload)):
        found = database.fetch(partial(responses_of, query_pks=[row.pk for row in page]))
        for row in page:
            yield Query.model_validate_json(row.payload), tuple(found.get(row.pk, ()))


def calls(database: Database, job_id: str) -> Iterator[tuple[Query, tuple[AnsweredCall, ...]]]:
    """See `ports.jobs.ResultReader`; a page is one transaction."""
    for page in _pages(database, job_id, select(t.query.c.pk, t.query.c.ix, t.query.c.payload)):
        found = database.fetch(partial(calls_of, query_pks=[row.pk for row in page]))
        for row in page:
            yield Query.model_validate_json(row.payload), tuple(found.get(row.pk, ()))


def engines_of(conn: Connection, job_id: str) -> frozenset[str]:
    """Engines of all calls that a job has asked for so far.

    Raises:
        NotFoundError: no such job.
    """
    of_job = t.job_engine.c.job_pk == job_pk_of(conn, job_id)
    return frozenset(conn.execute(select(t.job_engine.c.engine_id).where(of_job)).scalars())


def n_loads(conn: Connection, job_id: str | None) -> int:
    """Loads so far; of a job, those of its engines while it ran.

    Raises:
        NotFoundError: no such job.
    """
    if job_id is None:
        return conn.execute(select(func.count()).select_from(t.engine_load)).scalar_one()
    return progress(conn, job_id).n_loads


def engine_loads(conn: Connection, job_id: str) -> list[EngineLoad]:
    """See `ports.jobs.CostReader`.

    Raises:
        NotFoundError: no such job.
    """
    load = t.engine_load.c
    started_at = (load.at - load.seconds).label("started_at")
    wanted = select(
        load.engine_id, load.device, load.owner, started_at, load.seconds, load.left_at, load.kind
    )
    mine = _of_jobs(wanted).where(t.job.c.pk == job_pk_of(conn, job_id))
    rows = conn.execute(mine.order_by(load.at, load.pk))
    return [EngineLoad(*row)._replace(kind=LoadKind(row.kind)) for row in rows]


def _jobs() -> Select[Any]:
    """Job rows with the loads of their engines while they ran."""
    n = _of_jobs(select(func.count())).correlate(t.job).scalar_subquery()
    return select(t.job, n.label("n_loads"))


def _of_jobs(loads: Select[Any]) -> Select[Any]:
    load, mine = t.engine_load.c, t.job_engine.c
    until = func.coalesce(t.job.c.finished_at, db_now())
    return loads.select_from(t.engine_load.join(t.job_engine, mine.engine_id == load.engine_id)).where(
        mine.job_pk == t.job.c.pk, load.at >= t.job.c.created_at, load.at <= until
    )


def _progress(row: Any) -> JobProgress:
    return JobProgress(
        job=Job.model_validate_json(row.payload),
        state=JobState(row.state),
        total=row.n_total,
        completed=row.n_completed,
        failed=row.n_failed,
        n_assignments=row.n_assignments,
        n_responses=row.n_responses,
        n_regenerated=row.n_regenerated,
        n_loads=row.n_loads,
        created_at=row.created_at,
        finished_at=row.finished_at,
        deadline_at=row.deadline_at,
        n_retries=row.n_retries,
    )


def _with_answer() -> Select[Any]:
    return select(
        *(t.query.c.pk, t.query.c.ix, t.query.c.payload, decision_of_query().label("decision")),
        t.answer.c.payload.label("answer"),
        t.answer.c.decision_is_queries,
    ).outerjoin(t.answer, t.answer.c.query_pk == t.query.c.pk)


def _answer(row: Any) -> Answer:
    return answer_from_json(row.answer, decision=row.decision if row.decision_is_queries else None)


def _pages(database: Database, job_id: str, wanted: Select[Any]) -> Iterator[Sequence[Any]]:
    """Rows of a job's queries in submission order; no transaction is held between pages.

    Raises:
        NotFoundError: no such job, or it was deleted before its last page.
    """
    pk, created_at = database.fetch(partial(_mark, job_id))
    is_there = exists().where(t.job.c.pk == pk, t.job.c.id == job_id, t.job.c.created_at == created_at)
    of_job = wanted.where(t.query.c.job_pk == pk, is_there).order_by(t.query.c.ix).limit(PAGE)
    after, is_last = -1, False
    while not is_last:
        rows = database.fetch(partial(_rows, of_job.where(t.query.c.ix > after)))
        is_last = len(rows) < PAGE
        if rows:
            yield rows
            after = rows[-1].ix
        elif database.fetch(partial(_mark, job_id)) != (pk, created_at):
            raise nothing_found("job", shown(job_id))


def _mark(job_id: str, conn: Connection) -> tuple[int, float]:
    """A job's number, and the time of its submission: others may have its name and its number later."""
    row = conn.execute(_marked(), {"id": job_id}).first() if is_name(job_id) else None
    if row is None:
        raise nothing_found("job", shown(job_id))
    return row.pk, row.created_at


@cache
def _marked() -> Select[tuple[int, float]]:
    return select(t.job.c.pk, t.job.c.created_at).where(t.job.c.id == bindparam("id"))


def _rows(wanted: Select[Any], conn: Connection) -> Sequence[Any]:
    return conn.execute(wanted).all()
