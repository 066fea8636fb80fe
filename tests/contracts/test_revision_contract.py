"""A process whose database was migrated under it takes no work, says so, and goes on when it fits again."""

import logging
from collections.abc import Callable

import pytest
from sqlalchemy import text

from orchestrator.bootstrap.checks import heard_of
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Ask, Done, Job
from orchestrator.domain.devices import DeviceReport
from orchestrator.errors import SchemaChangedError
from orchestrator.ports.jobs import SweepReport
from orchestrator.store import Database, SqlJobStore
from orchestrator.store.migrations import HEAD
from orchestrator.store.revision import LOOK_S, RevisionWatch
from tests.fakes.work import HandClock, answered, make_call, make_queries

OLD = Job(id="job", composition="any")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(database: Database, clock: HandClock) -> SqlJobStore:
    """Two queries, one of them asked and under lease, the other ready for its first step."""
    store = SqlJobStore(database, revision=RevisionWatch(database, clock=clock))
    store.submit(OLD, make_queries(2))
    state = store.ready(limit=1)[0]
    store.advance([(state, Ask(calls=(make_call("a/0", state.query),)))], {"a/0": "a"})
    return store


def migrate(database: Database, revision: str) -> None:
    with database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": revision})


def names(store: SqlJobStore) -> dict[str, Callable[[], object]]:
    return {
        "submit": lambda: store.submit(Job(id="new", composition="any"), make_queries(1)),
        "cancel": lambda: store.cancel("job"),
        "retry": lambda: store.retry("job", failed_only=True, deadline_s=None),
        "delete": lambda: store.begin_deleting("job"),
        "purge": lambda: store.purge(1, limit=1),
        "vacuum": store.vacuum,
        "look": store.require_revision,
    }


@pytest.mark.parametrize("revision", ["9999", "0001"], ids=["newer", "older"])
def test_of_another_revision_nothing_is_claimed_stepped_or_swept_until_it_fits_again(
    store: SqlJobStore,
    database: Database,
    clock: HandClock,
    revision: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    migrate(database, revision)
    clock.now += LOOK_S
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert store.claim("a", owner="me", limit=9, lease_s=60).assignments == ()
            assert store.take_ready(limit=9, for_s=9) == store.take_ready(limit=9, for_s=0) == []
            assert store.sweep(max_attempts=1) == store.bury("me", max_attempts=1) == SweepReport()
            assert store.begin_deleting_old({"batch": 0.001}, limit=9) == 0
            assert not store.purge(limit=9)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1, "once"
    assert f"revision {revision}, and this process of {HEAD}" in said[0]
    assert "Restart this process" in said[0]

    migrate(database, HEAD)
    clock.now += LOOK_S
    assert len(store.take_ready(limit=9, for_s=9)) == 1
    assert len(store.claim("a", owner="me", limit=9, lease_s=60).assignments) == 1
    store.require_revision()


def test_what_changes_a_job_is_refused_with_what_to_do(
    store: SqlJobStore, database: Database, clock: HandClock
) -> None:
    migrate(database, "9999")
    clock.now += LOOK_S
    for change in names(store).values():
        with pytest.raises(SchemaChangedError, match="Restart this process"):
            change()
    assert store.job("job").waiting == 2, "and looking goes on"


def test_what_was_held_already_is_finished(store: SqlJobStore, database: Database, clock: HandClock) -> None:
    [held] = store.claim("a", owner="me", limit=9, lease_s=60).assignments
    migrate(database, "9999")
    clock.now += LOOK_S
    assert store.renew("me", lease_s=60) == 1
    assert store.complete("me", answered([(held.id, held.attempt)])) == 1
    done = [(state, Done(answer=Answer(text="yes"))) for state in store.ready(limit=9) if state.stage]
    assert store.advance(done, {}) == 1


def test_a_database_without_a_revision_is_none_of_ours(
    store: SqlJobStore, database: Database, clock: HandClock
) -> None:
    with database.write() as conn:
        conn.execute(text("DROP TABLE alembic_version"))
    clock.now += LOOK_S
    with pytest.raises(SchemaChangedError, match="revision unknown"):
        store.require_revision()


def test_a_device_of_an_outdated_process_says_so_to_the_others(
    store: SqlJobStore, database: Database
) -> None:
    report = DeviceReport(owner="me", device="cpu", host="node")
    outdated = SqlJobStore(database, revision=RevisionWatch(database, every_s=0, head="0001"))
    outdated.report_device(report)
    [seen] = store.devices(60)
    assert seen.code == "schema_changed"
    with pytest.raises(SchemaChangedError, match=f"cpu of node takes no work: .* revision {HEAD}") as says:
        heard_of([seen])
    assert "Restart this process" in str(says.value)
    store.report_device(report)
    assert heard_of(store.devices(60)) == "1 places of devices"


def test_the_revision_is_looked_at_now_and_then_only(
    store: SqlJobStore, database: Database, clock: HandClock
) -> None:
    store.require_revision()
    migrate(database, "9999")
    store.require_revision()
    clock.now += LOOK_S - 0.1
    store.require_revision()
    clock.now += 0.1
    with pytest.raises(SchemaChangedError):
        store.require_revision()
