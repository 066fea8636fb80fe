"""A database that was used before is as a new one."""

from pathlib import Path

import psycopg
import pytest

from orchestrator.domain.assignments import Job
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import emptied_postgres, fresh_postgres, postgres_is_reachable
from tests.fakes.work import make_queries

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not postgres_is_reachable(), reason="no PostgreSQL"),
]


def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Rows of all tables, and the sequences."""
    with psycopg.connect(url.replace("+psycopg", "")) as conn:
        tables = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = {t: conn.execute(f'SELECT * FROM "{t}"'.encode()).fetchall() for (t,) in tables}
        sequences = conn.execute("SELECT sequencename, last_value FROM pg_sequences").fetchall()
    return {**rows, "sequences": sorted(sequences)}


def used(url: str, tmp_path: Path) -> None:
    store = SqlJobStore(open_database(url))
    try:
        store.submit(Job(id="job", composition="any"), make_queries(3))
        store.take_ready(limit=2, for_s=60)
    finally:
        store.close()


def test_a_used_one_is_given_out_as_new(tmp_path: Path) -> None:
    with fresh_postgres() as url:
        new = contents(url)
    with emptied_postgres() as url:
        used(url, tmp_path)
        assert contents(url) != new
        first = url
    with emptied_postgres() as url:
        assert url == first
        assert contents(url) == new


def test_two_at_once_are_two() -> None:
    with emptied_postgres() as one, emptied_postgres() as other:
        assert one != other


@pytest.mark.parametrize("change", ["CREATE SCHEMA shim", "DROP TABLE alembic_version"])
def test_one_whose_tables_were_changed_is_not_given_out_again(change: str) -> None:
    with emptied_postgres() as url, psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as conn:
        conn.execute(change.encode())
        changed = url
    with emptied_postgres() as url:
        assert url != changed
