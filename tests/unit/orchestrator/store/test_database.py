import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event, select, text

from orchestrator.domain.assignments import Job
from orchestrator.errors import ConfigError, StoreError, StoreUnavailableError
from orchestrator.store import SqlJobStore, database, migrations, open_database
from orchestrator.store.database import chunked, db_now
from orchestrator.store.tables import METADATA
from tests.fakes.databases import fresh_postgres, fresh_sqlite, postgres_is_reachable
from tests.fakes.work import make_queries

Use = Callable[[SqlJobStore], object]


def differences(url: str) -> list[object]:
    database = open_database(url)
    with database.read() as conn:
        found = compare_metadata(MigrationContext.configure(conn), METADATA)
    database.close()
    return found


def test_the_migrated_schema_equals_the_tables_on_sqlite(tmp_path: Path) -> None:
    assert differences(f"sqlite:///{tmp_path}/new.db") == []


@pytest.mark.postgres
@pytest.mark.skipif(not postgres_is_reachable(), reason="no PostgreSQL server")
def test_the_migrated_schema_equals_the_tables_on_postgresql() -> None:
    with fresh_postgres(migrated=False) as url:
        assert differences(url) == []


def test_the_named_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


def test_processes_that_open_a_new_database_at_once_all_succeed(tmp_path: Path) -> None:
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            open_database(f"sqlite:///{tmp_path}/deep/er/new.db").close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    url = fresh_sqlite(tmp_path)
    database = open_database(url)
    with database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(StoreError, match="Upgrade Muster"):
        open_database(url)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://root@localhost/x", "sqlite://", "sqlite:///:memory:"]
)
def test_urls_that_cannot_work_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_database(url)


def test_a_database_that_cannot_be_reached_is_unavailable() -> None:
    with pytest.raises(StoreUnavailableError, match="safe to try again"):
        open_database("postgresql://nobody@127.0.0.1:1/none")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be read as one" * 100)
    with pytest.raises(StoreError):
        open_database(f"sqlite:///{path}")


def test_sqlite_runs_in_wal_mode_with_foreign_keys(tmp_path: Path) -> None:
    database = open_database(fresh_sqlite(tmp_path))
    with database.read() as conn:
        pragmas = [
            conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "foreign_keys")
        ]
    database.close()
    assert pragmas == ["wal", 1]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = SqlJobStore(database := open_database(fresh_sqlite(tmp_path)))
    with pytest.raises(StoreError, match="refused"), database.write() as conn:
        conn.execute(text("INSERT INTO job_engine VALUES (1, 'orphan')"))
    assert store.jobs() == []
    store.close()


def test_the_database_clock_tells_the_time_in_seconds(tmp_path: Path) -> None:
    database = open_database(fresh_sqlite(tmp_path))
    with database.read() as conn:
        now, reference = conn.execute(select(db_now(), text("CAST(strftime('%s', 'now') AS REAL)"))).one()
    database.close()
    assert reference <= now < reference + 2


@pytest.mark.parametrize(
    ("use", "index"),
    [
        (lambda store: store.ready(limit=5), "ix_query_ready"),
        (lambda store: store.take_ready(limit=5, for_s=9), "ix_query_ready"),
        (lambda store: store.is_routing(), "ix_query_routing"),
        (lambda store: store.claim("a", owner="me", limit=5, lease_s=9), "ix_share_turn"),
        (lambda store: store.claim("a", owner="me", limit=5, lease_s=9), "ix_assignment_retried"),
        (lambda store: store.backlog(owner="me"), "ix_share_waiting"),
        (lambda store: store.renew("me", lease_s=9), "ix_assignment_leased"),
        (lambda store: store.sweep(max_attempts=3), "ix_assignment_leased"),
    ],
)
def test_the_hot_path_uses_its_partial_indices(tmp_path: Path, use: Use, index: str) -> None:
    """They keep it fast however much work is done already."""
    database = open_database(fresh_sqlite(tmp_path))
    plans: list[str] = []

    def explain(conn, cursor, statement, parameters, context, many) -> None:
        if statement.startswith(("SELECT", "UPDATE", "WITH")):
            rows = conn.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            plans.extend(row[3] for row in rows)

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        use(SqlJobStore(database))
    finally:
        event.remove(Engine, "before_cursor_execute", explain)
        database.close()
    assert any(index in plan for plan in plans), plans
    scans = {plan for plan in plans if plan.startswith("SCAN") and "INDEX" not in plan}
    # A row per worker needs no index; nor does the one row that a statement's parts come to.
    of_one_row = {plan for plan in scans if plan == "SCAN CONSTANT ROW" or plan.startswith("SCAN anon_")}
    assert scans - of_one_row <= {"SCAN device"}, plans


def test_looking_at_the_backlog_and_the_jobs_under_way_touches_no_rows_of_work(tmp_path: Path) -> None:
    database = open_database(fresh_sqlite(tmp_path))
    statements: list[str] = []

    def note(conn, cursor, statement, parameters, context, many) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        store = SqlJobStore(database)
        store.backlog(owner="me")
        store.n_under_way(limit=5)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        database.close()
    words = set(" ".join(statements).replace(".", " ").split())
    assert {"engine_work", "share", "job"} <= words
    assert words.isdisjoint({"assignment", "query", "prompt"})


def test_chunks_keep_every_item_in_order() -> None:
    assert list(chunked(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(chunked([], 2)) == []


def test_a_large_job_is_stored_and_read_in_little_memory(tmp_path: Path) -> None:
    """Queries stream in and out in pages: 20,000 of them (about 20 MB as objects) take under 8 MB."""
    import tracemalloc

    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    tracemalloc.start()
    store.submit(
        Job(id="job", composition="any"), (q for n in range(200) for q in make_queries(100, prefix=f"{n}-"))
    )
    assert sum(1 for _ in store.responses("job")) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    store.close()
    assert peak < 8_000_000


@pytest.mark.parametrize("url", ["s3cret", "postgres//me:s3cret@host/db", "mysql://me:s3cret@host/db"])
def test_a_url_that_cannot_be_used_is_a_configuration_error_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        open_database(url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("n_failures", [0, 1, 3, 4])
def test_what_was_certainly_not_done_is_tried_four_times_in_all(n_failures: int) -> None:
    tried: list[int] = []

    def attempt() -> str:
        tried.append(1)
        if len(tried) <= n_failures:
            raise database._NotDoneError("the server is starting up.")
        return "done"

    if n_failures < 4:
        assert database._retried(attempt) == "done"
    else:
        with pytest.raises(StoreUnavailableError):
            database._retried(attempt)
    assert len(tried) == min(n_failures + 1, database.ATTEMPTS)
