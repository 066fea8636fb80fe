"""Retry, deletion and upkeep of jobs that have ended, over a real store."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Done, Job, JobState
from orchestrator.errors import JobRunningError, NotFoundError, StoreUnavailableError
from orchestrator.services.ended import CHUNK, EndedJobs
from orchestrator.services.upkeep import Upkeep
from orchestrator.settings.schema import RetentionSettings
from orchestrator.store import Database, SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.work import HandClock, make_queries

FAILED = Answer(text="", error_code="refused", error="will not")


class Bell:
    """Counts how often it is rung."""

    def __init__(self) -> None:
        self.n_rung = 0

    def notify(self) -> None:
        self.n_rung += 1


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(fresh_sqlite(tmp_path))
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> SqlJobStore:
    return SqlJobStore(database)


def ended_of(store: SqlJobStore, bell: Bell, **days: float | None) -> EndedJobs:
    return EndedJobs(store=store, dispatcher=bell, retention=RetentionSettings(**days), clock=HandClock())


def end(store: SqlJobStore, job_id: str, *, kind: str = "batch", n: int = 1, answer: Answer = FAILED) -> None:
    store.submit(Job(id=job_id, kind=kind, composition="any"), make_queries(n, prefix=job_id))
    while states := store.ready(limit=1000):
        store.advance([(state, Done(answer=answer)) for state in states], {})


def age(database: Database, days: float) -> None:
    with database.write() as conn:
        conn.execute(text("UPDATE job SET finished_at = finished_at - :s"), {"s": days * 86_400})


def names(store: SqlJobStore) -> list[str]:
    return sorted(progress.job.id for progress in store.jobs())


def test_a_retry_rings_for_the_workers_and_one_without_work_does_not(store: SqlJobStore) -> None:
    bell = Bell()
    end(store, "failed")
    end(store, "fine", answer=Answer(text="yes"))
    ended = ended_of(store, bell)
    assert (ended.retry("failed"), bell.n_rung) == (1, 1)
    assert (ended.retry("fine"), bell.n_rung) == (0, 1)
    with pytest.raises(JobRunningError):
        ended.retry("failed")
    assert store.job("failed").state is JobState.RUNNING


def test_a_deletion_returns_when_everything_is_gone(store: SqlJobStore, database: Database) -> None:
    end(store, "large", n=2 * CHUNK + 1)
    ended_of(store, Bell()).delete("large")
    with database.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM query")).scalar() == 0
        assert conn.execute(text("SELECT count(*) FROM job")).scalar() == 0
    with pytest.raises(NotFoundError):
        ended_of(store, Bell()).delete("large")


@pytest.mark.parametrize(
    ("days", "kept"),
    [
        ({}, ["file"]),
        ({"question_days": None}, ["ask", "file", "route"]),
        ({"batch_days": 30}, []),
        ({"question_days": 40, "batch_days": 40}, ["ask", "file", "route"]),
        ({"question_days": None, "batch_days": 0.5}, ["ask", "route"]),
    ],
    ids=["by default questions go", "nothing goes", "all goes", "too young", "only files go"],
)
def test_jobs_are_kept_for_as_long_as_their_kind_is(
    store: SqlJobStore, database: Database, days: dict[str, float | None], kept: list[str]
) -> None:
    for job_id, kind in (("ask", "ask"), ("route", "route"), ("file", "batch")):
        end(store, job_id, kind=kind)
    age(database, 31)
    ended_of(store, Bell(), **days).tidy()
    assert names(store) == kept


def test_one_turn_of_upkeep_takes_its_time_and_the_next_goes_on(
    store: SqlJobStore, database: Database
) -> None:
    end(store, "large", kind="ask", n=3 * CHUNK)
    age(database, 31)
    ended = ended_of(store, Bell())
    assert ended.tidy(for_s=0) == 1
    with database.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM query")).scalar() == 2 * CHUNK
    while ended.tidy(for_s=0) or store.purge(limit=CHUNK):
        pass
    assert names(store) == []


def test_upkeep_goes_on_after_an_outage_and_ends_when_told(store: SqlJobStore) -> None:
    turns, away = threading.Semaphore(0), [StoreUnavailableError("away"), ValueError("a bug")]

    class Flaky(EndedJobs):
        def tidy(self, *, for_s: float = 1.0) -> int:
            turns.release()
            if away:
                raise away.pop()
            return 0

    flaky = Flaky(store=store, dispatcher=Bell(), retention=RetentionSettings())
    upkeep = Upkeep(flaky, every_s=0.001)
    upkeep.start()
    for _ in range(3):
        assert turns.acquire(timeout=30)
    upkeep.stop()
    upkeep.stop()
