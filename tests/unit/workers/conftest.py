"""A store and a clock of their own for the parts of a device's loop."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.work import HandClock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()
