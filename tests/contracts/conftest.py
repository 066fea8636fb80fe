"""The store contract runs on SQLite and, where a server answers, on PostgreSQL; the backend contract
on `remote` where litellm is installed, and on `vllm` where its environment is."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from orchestrator.store import Database, SqlJobStore, open_database
from tests.fakes.databases import POSTGRES_URL, emptied_postgres, fresh_sqlite, postgres_is_reachable
from tests.vllm_environment import HAS_VLLM


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_kind" in metafunc.fixturenames:
        postgres = [pytest.param("postgres", marks=pytest.mark.postgres)] if postgres_is_reachable() else []
        metafunc.parametrize("database_kind", ["sqlite", *postgres])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not postgres_is_reachable():
        terminalreporter.write_line(
            f"NOTE: no PostgreSQL at {POSTGRES_URL}; the store contract ran on SQLite only.", yellow=True
        )
    if find_spec("litellm") is None:
        terminalreporter.write_line(
            "NOTE: no litellm; the backend contract left `remote` out (make test-remote).", yellow=True
        )
    if not HAS_VLLM:
        terminalreporter.write_line(
            "NOTE: no .venv-vllm; the backend contract left `vllm` out (make test-vllm).", yellow=True
        )


@pytest.fixture
def database_url(database_kind: str, tmp_path: Path) -> Iterator[str]:
    if database_kind == "sqlite":
        yield fresh_sqlite(tmp_path)
        return
    with emptied_postgres() as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = open_database(database_url)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> SqlJobStore:
    return SqlJobStore(database)
