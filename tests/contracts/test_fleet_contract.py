"""What the store of the fleet promises, whatever the database."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from orchestrator.domain.fleet import (
    REMEMBERED_S,
    FileMark,
    ProcessReport,
    PublishedPool,
    StatedExpert,
    WeightsRecord,
)
from orchestrator.services.fleet_reports import FleetReports
from orchestrator.store import Database, SqlFleetStore
from orchestrator.store.fleet_tables import process_report


@pytest.fixture
def fleet(database: Database) -> SqlFleetStore:
    return SqlFleetStore(database)


def report(process: str = "a|b/c|1|2", **more: object) -> ProcessReport:
    told = {"process": process, "role": "worker", "host": "a", "machine": "a|b/c", **more}
    return ProcessReport.model_validate(told)


def record(*marks: FileMark, host: str = "one") -> WeightsRecord:
    return WeightsRecord(host=host, files=marks)


def mark(name: str = "w", *, whole: str | None = None, ends: str = "e", size: int = 3) -> FileMark:
    return FileMark(name=name, size=size, ends=ends, whole=whole)


def grown_old(database: Database, seconds: float) -> None:
    p = process_report.c
    database.transact(
        lambda conn: conn.execute(
            update(process_report).values(since=p.since - seconds, seen_at=p.seen_at - seconds)
        )
    )


def test_the_last_report_of_a_process_counts_and_its_age_is_that_of_its_first(
    fleet: SqlFleetStore, database: Database
) -> None:
    fleet.report_process(report(config_hash="old"))
    grown_old(database, 100)
    assert [round(one.seen_s, -1) for one in fleet.processes(200)] == [100]
    assert fleet.processes(50) == []
    fleet.report_process(report(config_hash="new"))
    [found] = fleet.processes(50)
    assert (found.config_hash, round(found.age_s, -1), found.seen_s < 50) == ("new", 100, True)
    assert not found.is_silent


def test_who_says_good_bye_is_gone_and_who_does_not_is_forgotten_after_a_day(
    fleet: SqlFleetStore, database: Database
) -> None:
    fleet.report_process(report("leaves|b/c|1|2"))
    fleet.forget_process("leaves|b/c|1|2")
    assert fleet.processes(1e9) == []
    fleet.report_process(report("lost|b/c|1|2"))
    grown_old(database, REMEMBERED_S + 60)
    fleet.report_process(report("lives|b/c|1|2"))
    assert [one.process for one in fleet.processes(1e9)] == ["lives|b/c|1|2"]


def test_who_leaves_takes_those_along_that_it_replaced_and_no_twin(
    fleet: SqlFleetStore, database: Database
) -> None:
    killed = report("a|b/c|1|2", device="cuda:0")
    other = report("a|b/c|2|2", device="cuda:1")
    for one in (killed, other):
        fleet.report_process(one)
    grown_old(database, 100)
    fleet.report_process(other)
    again = FleetReports(fleet, lambda: report("a|b/c|3|2", device="cuda:0"))
    again.tell()
    again.stop()
    assert [one.process for one in fleet.processes(1e9)] == [other.process]
    again.tell()
    fleet.report_process(killed)
    grown_old(database, 100)
    again.tell()
    again.stop()
    assert [one.process for one in fleet.processes(1e9)] == [killed.process, other.process], (
        "they lived together"
    )


def test_a_report_of_another_version_keeps_nobody_from_reading_the_others(
    fleet: SqlFleetStore, database: Database
) -> None:
    fleet.report_process(report("a|b/c|1|2"))
    fleet.report_process(report("newer|b/c|1|2"))
    newer = '{"process": "newer|b/c|1|2", "hovercraft": "full of eels"}'
    database.transact(
        lambda conn: conn.execute(
            update(process_report).where(process_report.c.process == "newer|b/c|1|2").values(payload=newer)
        )
    )
    assert [one.process for one in fleet.processes(60)] == ["a|b/c|1|2"]


def test_the_pool_that_was_published_last_counts_also_when_it_is_an_older_one_again(
    fleet: SqlFleetStore,
) -> None:
    assert fleet.published() is None
    one, two = (
        PublishedPool(
            config_hash=name,
            host="h",
            rows=({"model_name": name},),
            experts={name: StatedExpert(engine_id="e")},
        )
        for name in ("one", "two")
    )
    seen = []
    for pool in (one, two, one):
        fleet.publish(pool)
        found = fleet.published()
        assert found is not None
        seen.append(found.replaced(age_s=0.0))
    assert seen == [one, two, one]


def test_weights_are_recorded_by_the_first_who_reads_them(fleet: SqlFleetStore) -> None:
    records = [record(mark(ends=str(n)), host=f"host{n}") for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda one: fleet.record_weights("k", one), records))
    assert len({one.host for one in kept}) == 1
    assert fleet.weights(["k", "other"]) == {"k": kept[0]}
    assert fleet.forget_weights(["k", "other"]) == 1
    assert fleet.record_weights("k", records[7]) == records[7]


def test_digests_of_whole_files_are_added_to_files_that_are_the_same_and_never_replaced(
    fleet: SqlFleetStore,
) -> None:
    fleet.record_weights("k", record(mark("a"), mark("b")))
    fuller = fleet.record_weights("k", record(mark("a", whole="x"), mark("b", ends="other", whole="y")))
    assert [one.whole for one in fuller.files] == ["x", None]
    assert fuller.host == "one"
    later = fleet.record_weights("k", record(mark("a", whole="z")))
    assert [one.whole for one in later.files] == ["x", None]


def test_texts_that_no_column_takes_are_stored_without_what_is_wrong(fleet: SqlFleetStore) -> None:
    fleet.report_process(report(versions={"torch": "2\x00.11"}))
    assert [one.versions for one in fleet.processes(60)] == [{"torch": "2 .11"}]


def test_the_clock_is_the_databases(fleet: SqlFleetStore) -> None:
    before = time.time()
    assert before - 1 <= fleet.clock_s() <= time.time() + 1
