"""Databases for tests: a migrated SQLite file, copied; a PostgreSQL schema of its own."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from orchestrator.store import open_database

CONFIGURED = os.environ.get("MUSTER_TEST_POSTGRES_URL")
POSTGRES_URL = CONFIGURED or "postgresql+psycopg://root@127.0.0.1:5432/test"


def fresh_sqlite(folder: Path) -> str:
    """URL of a new database in `folder`, its schema up to date."""
    path = folder / f"{secrets.token_hex(4)}.db"
    shutil.copy(_template(), path)
    return f"sqlite:///{path}"


@contextmanager
def fresh_postgres() -> Iterator[str]:
    """URL of a new, empty schema on the test server; dropped at the end."""
    import psycopg

    schema = f"muster_{secrets.token_hex(6)}"
    with psycopg.connect(_plain_url(), autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA {schema}")
    try:
        yield f"{POSTGRES_URL}?options=-csearch_path%3D{schema}"
    finally:
        with psycopg.connect(_plain_url(), autocommit=True) as admin:
            admin.execute(f"DROP SCHEMA {schema} CASCADE")


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
def _template() -> Path:
    path = Path(tempfile.mkdtemp(prefix="muster-test-")) / "template.db"
    open_database(f"sqlite:///{path}").close()
    return path


def _plain_url() -> str:
    return POSTGRES_URL.replace("postgresql+psycopg", "postgresql")
