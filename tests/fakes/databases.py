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

from sqlalchemy.engine import make_url

from orchestrator.store import open_database

CONFIGURED = os.environ.get("MUSTER_TEST_POSTGRES_URL")
POSTGRES_URL = CONFIGURED or "postgresql+psycopg://root@127.0.0.1:5432/test"


def fresh_sqlite(folder: Path) -> str:
    """URL of a new database in `folder`, its schema up to date."""
    path = folder / f"{secrets.token_hex(4)}.db"
    shutil.copy(_sqlite_template(), path)
    return f"sqlite:///{path}"


@contextmanager
def fresh_postgres(*, migrated: bool = True) -> Iterator[str]:
    """URL of a new database on the test server, its schema up to date; dropped at the end.

    Args:
        migrated: False = without tables.
    """
    with _new_database(template=_postgres_template() if migrated else None) as name:
        yield _url_of(name)


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


def _plain_url() -> str:
    return POSTGRES_URL.replace("postgresql+psycopg", "postgresql")
