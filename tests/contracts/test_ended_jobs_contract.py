"""What every store promises of jobs that have ended: what failed can run again, what is deleted is gone."""

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Text, func, select, update

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Ask, Done, Job, JobProgress, JobState, QueryState
from orchestrator.domain.cards import CompetenceCard, Tally
from orchestrator.domain.feedback import Feedback
from orchestrator.errors import JobRunningError, NotFoundError
from orchestrator.ports.jobs import Completion
from orchestrator.store import Database, SqlCardStore, SqlFeedbackStore, SqlJobStore
from orchestrator.store import reading as pages
from orchestrator.store import tables as t
from tests.fakes.work import answered, make_call, make_queries, make_response

ENGINE_OF = {"a/0": "a", "b/0": "b"}
FAILED = Answer(text="", error_code="engine_load_failed", error="broken")
DEGRADED = Answer(text="half", degraded=True)
SECRET = "wombat"


def ended_job(store: SqlJobStore, *answers: Answer, job_id: str = "job", kind: str = "batch") -> None:
    """A job of one query for each answer, which one expert was asked for."""
    store.submit(Job(id=job_id, kind=kind, composition="any"), make_queries(len(answers), prefix=job_id))
    ask_all(store)
    respond_all(store)
    steps = zip(store.ready(limit=100), answers, strict=True)
    store.advance([(state, Done(answer=answer)) for state, answer in steps], ENGINE_OF)


def ask_all(store: SqlJobStore, *experts: str) -> None:
    asks = [
        (state, Ask(calls=tuple(make_call(e, state.query) for e in experts or ("a/0",))))
        for state in store.ready(limit=100)
    ]
    store.advance(asks, ENGINE_OF)


def respond_all(store: SqlJobStore, *, engine: str = "a", owner: str = "me", limit: int = 100) -> int:
    claimed = store.claim(engine, owner=owner, limit=limit, lease_s=60).assignments
    return store.complete(owner, answered([(a.id, a.attempt) for a in claimed]))


def finish_all(store: SqlJobStore, text: str = "again") -> None:
    done = [(state, Done(answer=Answer(text=text))) for state in store.ready(limit=100)]
    store.advance(done, ENGINE_OF)


def texts(store: SqlJobStore, job_id: str = "job") -> list[str | None]:
    return [answer.error_code or answer.text for _, answer in store.answers(job_id)]


def counts(progress: JobProgress) -> tuple[JobState, int, int, int]:
    return progress.state, progress.completed, progress.failed, progress.n_retries


def check_books(database: Database) -> None:
    """The counters of every job are those of its rows."""
    with database.read() as conn:
        for job in conn.execute(select(t.job)).all():
            q, a = t.query.c, t.assignment.c
            states = dict(
                conn.execute(select(q.state, func.count()).where(q.job_pk == job.pk).group_by(q.state)).all()
            )
            calls = conn.execute(select(func.count(), func.count(a.response)).where(a.job_pk == job.pk)).one()
            assert (job.n_completed, job.n_failed) == (states.get("completed", 0), states.get("failed", 0))
            assert (job.n_assignments, job.n_responses) == tuple(calls)


# ── retry ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_retry_runs_what_failed_anew_and_keeps_what_is_answered(
    store: SqlJobStore, database: Database
) -> None:
    ended_job(store, Answer(text="fine"), FAILED, DEGRADED)
    assert store.retry("job", failed_only=True, deadline_s=None) == 1
    assert counts(store.job("job")) == (JobState.RUNNING, 2, 0, 1)
    [state] = store.ready(limit=10)
    assert (state.query.id, state.stage, state.responses) == ("job1", 0, ())
    check_books(database)
    ask_all(store)
    respond_all(store)
    finish_all(store)
    assert counts(store.job("job")) == (JobState.DONE, 3, 0, 1)
    assert texts(store) == ["fine", "again", "half"]
    check_books(database)


def test_degraded_answers_are_run_again_when_that_is_asked_for(
    store: SqlJobStore, database: Database
) -> None:
    ended_job(store, Answer(text="fine"), FAILED, DEGRADED)
    assert store.retry("job", failed_only=False, deadline_s=None) == 2
    assert counts(store.job("job")) == (JobState.RUNNING, 1, 0, 1)
    assert texts(store) == ["fine"]
    check_books(database)


def test_what_was_cancelled_goes_on_where_it_was_with_calls_of_new_numbers(
    store: SqlJobStore, database: Database
) -> None:
    store.submit(Job(id="job", composition="any"), make_queries(3))
    ask_all(store, "a/0", "b/0")
    respond_all(store, engine="b")
    held = store.claim("a", owner="me", limit=1, lease_s=60).assignments
    store.cancel("job")
    assert store.retry("job", failed_only=True, deadline_s=None) == 3
    assert counts(store.job("job")) == (JobState.RUNNING, 0, 0, 1)
    check_books(database)
    again = store.claim("a", owner="me", limit=9, lease_s=60).assignments
    assert (len(again), {a.attempt for a in again}) == (3, {1})
    assert not {a.id for a in again} & {a.id for a in held}
    assert store.complete("me", answered([(a.id, a.attempt) for a in held])) == 0, "of the first run"
    store.complete("me", answered([(a.id, a.attempt) for a in again]))
    assert [len(state.responses) for state in store.ready(limit=9)] == [2, 2, 2]
    finish_all(store)
    assert texts(store) == ["again"] * 3
    check_books(database)


def test_a_query_that_was_cancelled_between_two_steps_takes_the_next_one(store: SqlJobStore) -> None:
    store.submit(Job(id="job", composition="any"), make_queries(2))
    ask_all(store)
    respond_all(store, limit=1)
    store.cancel("job")
    store.retry("job", failed_only=True, deadline_s=None)
    [state] = store.ready(limit=9)
    assert (state.query.id, state.stage, len(state.responses)) == ("q0", 1, 1)


def test_an_expired_job_runs_without_a_deadline_or_with_a_new_one(
    store: SqlJobStore, database: Database
) -> None:
    for job_id, deadline_s in (("free", None), ("bound", 3600.0)):
        store.submit(Job(id=job_id, composition="any", deadline_s=1), make_queries(2, prefix=job_id))
        with database.write() as conn:
            conn.execute(update(t.job).where(t.job.c.id == job_id).values(deadline_at=0.0))
        expire(store)
        assert store.job(job_id).state is JobState.EXPIRED
        assert store.retry(job_id, failed_only=True, deadline_s=deadline_s) == 2
    expire(store)
    free, bound = store.job("free"), store.job("bound")
    assert (free.state, free.deadline_at) == (JobState.RUNNING, None)
    assert bound.state is JobState.RUNNING
    assert bound.deadline_at is not None
    assert bound.deadline_at > bound.created_at + 3000


def test_a_job_that_runs_is_neither_retried_nor_deleted(store: SqlJobStore) -> None:
    store.submit(Job(id="job", composition="any"), make_queries(1))
    with pytest.raises(JobRunningError, match="still runs"):
        store.retry("job", failed_only=True, deadline_s=None)
    with pytest.raises(JobRunningError, match="Cancel it first"):
        store.begin_deleting("job")
    assert counts(store.job("job")) == (JobState.RUNNING, 0, 0, 0)


def test_with_nothing_to_run_again_a_job_stays_as_it_is(store: SqlJobStore) -> None:
    ended_job(store, Answer(text="fine"), DEGRADED)
    before = store.job("job")
    assert store.retry("job", failed_only=True, deadline_s=60) == 0
    assert store.job("job") == before
    with pytest.raises(NotFoundError):
        store.retry("nobody", failed_only=True, deadline_s=None)


def test_several_retries_at_once_are_one(store: SqlJobStore, database: Database) -> None:
    ended_job(store, *[FAILED] * 50)
    outcomes: list[int | str] = []
    start = threading.Barrier(6)

    def retry() -> None:
        start.wait()
        try:
            outcomes.append(store.retry("job", failed_only=True, deadline_s=None))
        except JobRunningError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=retry) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["50", *["job_running"] * 5]
    assert counts(store.job("job")) == (JobState.RUNNING, 0, 0, 1)
    check_books(database)


def test_a_retry_rings_its_bell_and_an_ended_job_owes_none(store: SqlJobStore) -> None:
    ended_job(store, FAILED)
    assert store.outbox(9) == []
    store.retry("job", failed_only=True, deadline_s=None)
    assert [bell.job_id for bell in store.outbox(9)] == ["job"]
    store.cancel("job")
    assert store.outbox(9) == []


def test_a_job_can_be_retried_again_and_again(store: SqlJobStore, database: Database) -> None:
    ended_job(store, FAILED, Answer(text="fine"))
    for n in range(1, 4):
        assert store.retry("job", failed_only=True, deadline_s=None) == 1
        ask_all(store)
        respond_all(store)
        store.advance([(s, Done(answer=FAILED)) for s in store.ready(limit=9)], ENGINE_OF)
        assert counts(store.job("job")) == (JobState.DONE, 1, 1, n)
    check_books(database)


# ── deletion ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def secretive(store: SqlJobStore, database: Database) -> SqlJobStore:
    """A job with a secret in everything that may hold a text, beside one without."""
    ended_job(store, Answer(text="fine"), job_id="other")
    store.submit(Job(id="job", composition="any", label=SECRET), make_queries(5, prefix=SECRET))
    ask_all(store)
    claimed = store.claim("a", owner="me", limit=9, lease_s=60).assignments
    response = make_response("a/0", text=SECRET)
    store.complete("me", [Completion(a.id, a.attempt, response) for a in claimed])
    finish_all(store, SECRET)
    feedback = Feedback(job_id="job", query_id=f"{SECRET}0", key=SECRET, score=1, day=1)
    SqlFeedbackStore(database).save_feedback(feedback, [])
    return store


def test_what_is_deleted_is_in_no_column_of_any_table(secretive: SqlJobStore, database: Database) -> None:
    assert {"job", "query", "prompt", "assignment", "answer", "feedback"} == set(found(database, SECRET))
    delete(secretive, "job", limit=2)
    assert found(database, SECRET) == []
    with database.read() as conn:
        assert n_rows(conn) == {"job": 1, "query": 1, "prompt": 1, "assignment": 1, "answer": 1}
    assert texts(secretive, "other") == ["fine"]


def test_what_is_deleted_is_not_in_the_file_of_the_database(
    secretive: SqlJobStore, database_url: str, database_kind: str
) -> None:
    if database_kind != "sqlite":
        return
    from pathlib import Path

    path = Path(database_url.removeprefix("sqlite:///"))
    delete(secretive, "job")
    secretive.vacuum()
    beside = [p for p in path.parent.iterdir() if p.name.startswith(path.name)]
    assert not any(SECRET.encode() in p.read_bytes() for p in beside)


def test_a_job_is_gone_from_the_moment_its_deletion_begins(secretive: SqlJobStore) -> None:
    secretive.begin_deleting("job")
    assert [p.job.id for p in secretive.jobs()] == ["other"]
    for look in (secretive.job, secretive.answer, secretive.begin_deleting, secretive.cancel):
        with pytest.raises(NotFoundError):
            look("job")
    secretive.submit(Job(id="job", composition="any"), make_queries(1))
    assert secretive.job("job").total == 1, "its id is free"


def test_a_deletion_that_broke_off_is_finished_by_whoever_comes(
    secretive: SqlJobStore, database: Database
) -> None:
    number = secretive.begin_deleting("job")
    assert secretive.purge(number, limit=2)
    while secretive.purge(limit=2):
        pass
    assert found(database, SECRET) == []
    assert not secretive.purge(limit=2)


def test_no_number_is_given_twice_so_that_who_holds_an_old_one_reaches_nobody_else(
    store: SqlJobStore, database: Database
) -> None:
    store.submit(Job(id="job", composition="any"), make_queries(1))
    stale: list[QueryState] = store.ready(limit=9)
    ask_all(store)
    [held] = store.claim("a", owner="me", limit=9, lease_s=60).assignments
    store.cancel("job")
    delete(store, "job")
    store.submit(Job(id="new", composition="any"), make_queries(1))
    assert store.advance([(stale[0], Done(answer=Answer(text="wrong")))], ENGINE_OF) == 0
    ask_all(store)
    [claimed] = store.claim("a", owner="me", limit=9, lease_s=60).assignments
    assert claimed.attempt == held.attempt
    assert store.complete("me", answered([(held.id, held.attempt)], text="wrong")) == 0
    assert store.complete("me", answered([(claimed.id, claimed.attempt)])) == 1
    check_books(database)


def test_old_jobs_of_a_kind_are_deleted_and_others_kept(store: SqlJobStore, database: Database) -> None:
    for job_id, kind in (("old", "ask"), ("young", "ask"), ("file", "batch")):
        ended_job(store, Answer(text="fine"), job_id=job_id, kind=kind)
    store.submit(Job(id="runs", kind="ask", composition="any"), make_queries(1))
    with database.write() as conn:
        long_ago = time.time() - 31 * 86_400
        of_them = t.job.c.id.in_(["old", "file", "runs"])
        conn.execute(update(t.job).where(of_them).values(created_at=long_ago))
        conn.execute(
            update(t.job).where(of_them, t.job.c.finished_at.is_not(None)).values(finished_at=long_ago)
        )
    assert store.begin_deleting_old({"ask": 30.0}, limit=10) == 1
    assert store.begin_deleting_old({"ask": 30.0}, limit=10) == 0
    while store.purge(limit=10):
        pass
    assert {p.job.id for p in store.jobs()} == {"young", "file", "runs"}


def test_answers_that_are_read_while_their_job_is_deleted_end_and_are_never_anothers(
    store: SqlJobStore,
) -> None:
    ended_job(store, Answer(text="fine"))
    reading: Iterator[object] = store.answers("job")
    delete(store, "job")
    ended_job(store, Answer(text="other"), job_id="other")
    with pytest.raises(NotFoundError):
        next(reading)


READERS = {
    "answers": SqlJobStore.answers,
    "responses": SqlJobStore.responses,
    "calls": SqlJobStore.calls,
}


@pytest.mark.parametrize("again", [False, True], ids=["gone", "another of its name"])
@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("reader", READERS)
def test_a_job_that_is_deleted_while_it_is_read_does_not_look_like_a_shorter_one(
    store: SqlJobStore, monkeypatch: pytest.MonkeyPatch, reader: str, n: int, again: bool
) -> None:
    """Whether or not its last page would have been full."""
    monkeypatch.setattr(pages, "PAGE", 2)
    ended_job(store, *[Answer(text="fine")] * n)
    reading: Iterator[object] = READERS[reader](store, "job")
    seen = [next(reading), next(reading)]
    delete(store, "job")
    if again:
        ended_job(store, *[Answer(text="other")] * n)
    with pytest.raises(NotFoundError):
        seen += reading
    assert len(seen) == 2


@pytest.mark.parametrize("n", range(6))
@pytest.mark.parametrize("reader", READERS)
def test_a_job_is_read_whole_whatever_its_pages(
    store: SqlJobStore, monkeypatch: pytest.MonkeyPatch, reader: str, n: int
) -> None:
    monkeypatch.setattr(pages, "PAGE", 2)
    ended_job(store, *[Answer(text="fine")] * n)
    assert [one[0].id for one in READERS[reader](store, "job")] == [f"job{i}" for i in range(n)]


def test_others_work_while_a_job_is_deleted(store: SqlJobStore, database: Database) -> None:
    ended_job(store, *[FAILED] * 100)
    number = store.begin_deleting("job")
    ended = threading.Event()

    def delete_all() -> None:
        while store.purge(number, limit=5):
            pass
        ended.set()

    thread = threading.Thread(target=delete_all)
    thread.start()
    n = 0
    while not ended.is_set() or n == 0:
        n += 1
        ended_job(store, Answer(text="fine"), job_id=f"job{n}")
        assert texts(store, f"job{n}") == ["fine"]
    thread.join()
    check_books(database)


def test_vacuum_drops_what_is_derived_and_asked_for_no_more(store: SqlJobStore, database: Database) -> None:
    """Two cards of one expert: the newer counts. A load of long ago: no job that is kept saw it. A judgement
    whose job is gone."""
    ended_job(store, Answer(text="fine"))
    cards = SqlCardStore(database)
    for n_right in (1, 2):
        tally = Tally(n_right=n_right)
        cards.save_card(
            CompetenceCard(
                expert_id="a/0", fingerprint="f", profile_hash="p", outcomes_hash="o", total=tally, skills={}
            )
        )
    for _ in range(2):
        store.record_load(engine_id="a", device="cpu", owner="me", seconds=1)
    with database.write() as conn:
        conn.execute(update(t.engine_load).where(t.engine_load.c.pk == 1).values(at=1000.0))
    SqlFeedbackStore(database).save_feedback(Feedback(job_id="gone", query_id="q", score=1, day=1), [])
    store.vacuum()
    with database.read() as conn:
        n = {
            name: conn.execute(select(func.count()).select_from(t.METADATA.tables[name])).scalar()
            for name in ("card", "engine_load", "feedback", "job", "answer")
        }
    assert n == {"card": 1, "engine_load": 1, "feedback": 0, "job": 1, "answer": 1}
    assert cards.cards()["a/0"].total.n_right == 2
    assert texts(store) == ["fine"]


def delete(store: SqlJobStore, job_id: str, *, limit: int = 100) -> None:
    number = store.begin_deleting(job_id)
    while store.purge(number, limit=limit):
        pass


def expire(store: SqlJobStore) -> None:
    store.sweep(max_attempts=3)


def found(database: Database, text: str) -> list[str]:
    """Tables with a text column that shows `text`."""
    with database.read() as conn:
        return [name for name, table in t.METADATA.tables.items() if _shows(conn, table, text)]


def _shows(conn: Connection, table: object, text: str) -> bool:
    columns = [c for c in table.c if isinstance(c.type, Text)]  # type: ignore[attr-defined]
    return any(conn.execute(select(c).where(c.contains(text)).limit(1)).first() for c in columns)


def n_rows(conn: Connection) -> dict[str, int]:
    """Rows of the tables that hold jobs, without the empty ones."""
    names = ("job", "query", "prompt", "assignment", "answer", "feedback", "outbox")
    found = {name: conn.execute(select(func.count()).select_from(t.METADATA.tables[name])) for name in names}
    return {name: n for name, rows in found.items() if (n := rows.scalar_one())}
