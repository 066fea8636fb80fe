"""What the store does when PostgreSQL refuses, waits or goes away: try again where nothing happened, else
say so; never hang."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Connection, text, update
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from orchestrator.domain.assignments import Job, JobState
from orchestrator.errors import StoreUnavailableError
from orchestrator.store import Database, SqlJobStore, database, open_database
from orchestrator.store.tables import job, query
from tests.fakes.databases import fresh_postgres, postgres_is_reachable
from tests.fakes.work import make_queries

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not postgres_is_reachable(), reason="no PostgreSQL server"),
]


@pytest.fixture
def url() -> Iterator[str]:
    with fresh_postgres() as url:
        yield url


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds, short enough to be reached in a test."""
    monkeypatch.setattr(database, "POSTGRES_TIMEOUTS_MS", {"lock_timeout": 50})
    monkeypatch.setattr(database, "POOL_TIMEOUT_S", 0.05)


@pytest.fixture
def db(url: str, impatient: None) -> Iterator[Database]:
    db = open_database(url)
    SqlJobStore(db).submit(Job(id="job", composition="any"), make_queries(2))
    yield db
    db.close()


def end_connection(conn: Connection, url: str) -> None:
    """The server ends the connection, and has done so when this returns."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [backend_pid(conn)])


def backend_pid(conn: Connection) -> int:
    return int(conn.execute(text("SELECT pg_backend_pid()")).scalar_one())


def count_up(conn: Connection) -> None:
    conn.execute(update(job).values(n_regenerated=job.c.n_regenerated + 1))


def n_counted(db: Database) -> int:
    return SqlJobStore(db).job("job").n_regenerated


def test_a_connection_lost_amid_a_transaction_costs_nothing(db: Database, url: str) -> None:
    attempts: list[int] = []

    def work(conn: Connection) -> None:
        attempts.append(1)
        count_up(conn)
        if len(attempts) == 1:
            end_connection(conn, url)
        count_up(conn)

    db.transact(work)
    assert (len(attempts), n_counted(db)) == (2, 2)


def test_a_commit_without_a_reply_is_not_tried_again(db: Database, url: str) -> None:
    attempts: list[int] = []

    def work(conn: Connection) -> None:
        attempts.append(1)
        end_connection(conn, url)

    with pytest.raises(StoreUnavailableError):
        db.transact(work)
    assert len(attempts) == 1
    assert n_counted(db) == 0


def test_connections_that_died_in_the_pool_are_not_used(db: Database, url: str) -> None:
    with db.read() as conn:
        pid = backend_pid(conn)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert n_counted(db) == 0
    with db.read() as conn:
        assert backend_pid(conn) != pid


def test_of_two_transactions_that_lock_crosswise_both_are_done(db: Database) -> None:
    meet = threading.Barrier(2)

    def crosswise(first: int, second: int) -> None:
        attempts: list[int] = []

        def work(conn: Connection) -> None:
            attempts.append(1)
            for pk in (first, second):
                conn.execute(update(query).where(query.c.pk == pk).values(stage=query.c.stage + 1))
                if len(attempts) == 1 and pk == first:
                    meet.wait(timeout=60)

        db.transact(work)

    threads = [threading.Thread(target=crosswise, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [state.stage for state in SqlJobStore(db).ready(limit=9)] == [2, 2]


def test_a_lock_that_somebody_keeps_ends_in_unavailable_and_nothing_done(db: Database) -> None:
    store = SqlJobStore(db)
    with db.write() as holder:
        count_up(holder)
        with pytest.raises(StoreUnavailableError, match="lock timeout"):
            store.cancel("job")
    assert store.job("job").state is JobState.RUNNING
    store.cancel("job")
    assert store.job("job").state is JobState.CANCELLED


def test_a_pool_without_a_free_connection_is_unavailable(
    url: str, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "POOL_SIZE", 1)
    db = open_database(url)
    with db.read(), pytest.raises(StoreUnavailableError):
        SqlJobStore(db).jobs()
    assert SqlJobStore(db).jobs() == []
    db.close()


def test_a_process_that_stands_still_amid_a_transaction_loses_its_locks_and_begins_again(
    db: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one, which would wait for ever, counts when the server has ended the transaction."""
    monkeypatch.setattr(database, "POSTGRES_TIMEOUTS_MS", {"idle_in_transaction_session_timeout": 50})
    stopped, other = open_database(url), open_database(url)
    attempts: list[int] = []

    def work(conn: Connection) -> None:
        attempts.append(1)
        count_up(conn)
        if len(attempts) == 1:
            other.transact(count_up)
        count_up(conn)

    stopped.transact(work)
    assert (len(attempts), n_counted(db)) == (2, 3)
    stopped.close()
    other.close()


def test_every_wait_on_the_server_is_bounded(url: str) -> None:
    db = open_database(url)
    with db.read() as conn:
        settings = {
            name: conn.execute(
                text("SELECT setting FROM pg_settings WHERE name = :name"), {"name": name}
            ).scalar()
            for name in database.POSTGRES_TIMEOUTS_MS
        }
    db.close()
    assert settings == {name: str(ms) for name, ms in database.POSTGRES_TIMEOUTS_MS.items()}


def test_who_only_reads_begins_no_transaction(db: Database) -> None:
    with db.read() as conn:
        backend_pid(conn)
        driver: psycopg.Connection[object] = conn.connection.driver_connection  # type: ignore[assignment]
        assert driver.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
    with db.write() as conn:
        backend_pid(conn)
        driver = conn.connection.driver_connection  # type: ignore[assignment]
        assert driver.info.transaction_status is psycopg.pq.TransactionStatus.INTRANS


@pytest.mark.parametrize(("idle_s", "n_pings"), [(0.0, 4), (3600.0, 0)])
def test_only_a_connection_that_nobody_has_used_for_a_while_is_asked_whether_it_lives(
    db: Database, monkeypatch: pytest.MonkeyPatch, idle_s: float, n_pings: int
) -> None:
    monkeypatch.setattr(database, "PING_AFTER_S", idle_s)
    pings: list[object] = []
    ping = PGDialect_psycopg.do_ping
    monkeypatch.setattr(
        PGDialect_psycopg, "do_ping", lambda self, conn: pings.append(conn) or ping(self, conn)
    )
    for _ in range(4):
        n_counted(db)
    assert len(pings) == n_pings


def test_all_connections_that_a_server_has_ended_are_found_by_one(db: Database, url: str) -> None:
    """Two sleep in the pool; whoever comes next, in time for a ping or not, meets neither."""
    with db.read() as one, db.read() as other:
        pids = {backend_pid(one), backend_pid(other)}
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
        for pid in pids:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert n_counted(db) == 0
    with db.read() as one, db.read() as other:
        assert not {backend_pid(one), backend_pid(other)} & pids
