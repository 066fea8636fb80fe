"""Databases for tests: a migrated SQLite file, copied; a copy of a migrated PostgreSQL database."""

import atexit
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import make_url

from orchestrator.store import open_database

if TYPE_CHECKING:
    from psycopg import Connection

CONFIGURED = os.environ.get("MUSTER_TEST_POSTGRES_URL")
POSTGRES_URL = CONFIGURED or "postgresql+psycopg://root@127.0.0.1:5432/test"


def fresh_sqlite(folder: Path) -> str:
    """URL of a new database in `folder`, its schema up to date."""
    path = folder / f"{secrets.token_hex(4)}.db"
    shutil.copy(_sqlite_template(), path)
    return f"sqlite:///{path}"


def fill_data_folder(folder: Path) -> None:
    """Put a new database, its schema up to date, where Muster makes one in its data folder `folder`; one that
    is there stays. Migrations cost a tenth of a second and more."""
    path = folder / "muster.sqlite3"
    if not path.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        shutil.copy(_sqlite_template(), path)


@contextmanager
def fresh_postgres(*, migrated: bool = True) -> Iterator[str]:
    """URL of a new database on the test server, its schema up to date; dropped at the end.

    Args:
        migrated: False = without tables.
    """
    with _new_database(template=_postgres_template() if migrated else None) as name:
        yield _url_of(name)


@contextmanager
def emptied_postgres() -> Iterator[str]:
    """`fresh_postgres` at a tenth of its cost, for tests that change nothing but rows: databases are used
    again, with the rows that a new one has. One whose tables were changed is not."""
    name = _FREE.pop() if _FREE else _KEPT.enter_context(_new_database(template=_postgres_template()))
    try:
        yield _url_of(name)
    finally:
        if _emptied(name):
            _FREE.append(name)


_FREE: list[str] = []
_KEPT = ExitStack()
atexit.register(_KEPT.close)


def _emptied(database: str) -> bool:
    """Make rows and sequences as in the template; connections that were left open end. False = there is more
    to it than rows."""
    import psycopg

    first = _first_rows()
    with psycopg.connect(_plain_url(database)) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        schemas = conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname !~ '^(pg_|information_)'")
        if schemas.fetchone() != (1,) or _tables(conn) != list(first):
            return False
        conn.execute("SET session_replication_role = replica")  # whatever refers to whatever
        for table in first:
            conn.execute(f'DELETE FROM "{table}"'.encode())
        for table, rows in first.items():
            with conn.cursor().copy(f'COPY "{table}" FROM STDIN'.encode()) as copy:
                copy.write(rows)
        sequences = conn.execute("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'")
        for (sequence,) in sequences.fetchall():
            conn.execute(f'ALTER SEQUENCE "{sequence}" RESTART'.encode())
    return True


def _tables(conn: "Connection[Any]") -> list[str]:
    found = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return [name for (name,) in found.fetchall()]


@cache
def _first_rows() -> dict[str, bytes]:
    """Rows of a new database by table, in COPY's form."""
    import psycopg

    with psycopg.connect(_plain_url(_postgres_template())) as conn:
        found = {}
        for table in _tables(conn):
            with conn.cursor().copy(f'COPY "{table}" TO STDOUT'.encode()) as copy:
                found[table] = b"".join(bytes(block) for block in copy)
        return found


@contextmanager
def _new_database(*, template: str | None) -> Iterator[str]:
    name = f"muster_{secrets.token_hex(6)}"
    suffix = f" TEMPLATE {template}" if template else ""
    _administer(f"CREATE DATABASE {name}{suffix}")
    try:
        yield name
    finally:
        _administer(f"DROP DATABASE {name} WITH (FORCE)")


def _administer(statement: str) -> None:
    import psycopg

    with psycopg.connect(_plain_url(), autocommit=True) as admin:
        try:
            admin.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege as error:
            raise RuntimeError(f"the user of {POSTGRES_URL} needs the right CREATEDB") from error


@cache
def _postgres_template() -> str:
    """A migrated database that this process copies, until its end."""
    stack = ExitStack()
    name = stack.enter_context(_new_database(template=None))
    atexit.register(stack.close)
    open_database(_url_of(name)).close()
    return name


def _url_of(database: str) -> str:
    return make_url(POSTGRES_URL).set(database=database).render_as_string(hide_password=False)


@cache
def postgres_is_reachable() -> bool:
    """Whether the PostgreSQL tests can run. A server that was asked for by name must be there."""
    import psycopg

    try:
        psycopg.connect(_plain_url(), connect_timeout=2).close()
    except psycopg.OperationalError:
        if CONFIGURED:
            raise
        return False
    return True


@cache
def _sqlite_template() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="muster-test-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "template.db"
    open_database(f"sqlite:///{path}").close()
    return path


def _plain_url(database: str | None = None) -> str:
    url = POSTGRES_URL if database is None else _url_of(database)
    return url.replace("postgresql+psycopg", "postgresql")
