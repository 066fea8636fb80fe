"""Large jobs that were cancelled are ended beside whoever asked for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.assignments import JobState
from orchestrator.errors import StoreUnavailableError
from orchestrator.services.endings import Endings
from orchestrator.store import SqlJobStore, ending, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import submit
from tests.fakes.work import make_queries

LARGE = 3 * ending.CHUNK


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    submit(store, make_queries(LARGE))
    yield store
    store.close()


def test_a_cancelled_job_is_ended_in_the_background_and_stopping_waits_for_the_transaction_under_way(
    store: SqlJobStore,
) -> None:
    endings = Endings(store)
    store.cancel("job")
    assert store.job("job").state is JobState.CANCELLING
    endings.begin("job")
    endings.stop()
    endings.stop()
    assert store.job("job").failed > 0
    Endings(store).complete("job")
    progress = store.job("job")
    assert (progress.state, progress.failed) == (JobState.CANCELLED, LARGE)


def test_a_job_that_was_not_cancelled_is_left_alone(store: SqlJobStore) -> None:
    endings = Endings(store)
    endings.complete("job")
    endings.stop()
    assert store.job("job").failed == 0


class Away:
    """A store that cannot be reached at first."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def end_some(self, job_id: str) -> bool:
        self.asked.append(job_id)
        if len(self.asked) == 1:
            raise StoreUnavailableError("away.")
        return False


def test_a_database_that_is_away_keeps_nobody_else_from_being_ended() -> None:
    away = Away()
    endings = Endings(away)
    endings.begin("first")
    endings.begin("second")
    endings._thread.submit(lambda: None).result(timeout=60)
    endings.stop()
    assert away.asked == ["first", "second"]
