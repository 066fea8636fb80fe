from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.devices import STEPS, DeviceReport
from orchestrator.services.engines import EngineBoard
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from workers.leases.owners import berth_of, loop_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    database = open_database(fresh_sqlite(tmp_path))
    yield SqlJobStore(database)
    database.close()


def board(store: SqlJobStore) -> EngineBoard:
    return EngineBoard(store, engine_ids=("a", "b"), loop_of=loop_of)


def test_engines_that_are_kept_away_are_told_with_the_next_try(store: SqlJobStore) -> None:
    store.report_device(DeviceReport(owner="x", device="cpu", serves=("a", "b")))
    fault = {"state": "cooling", "code": "engine_load_failed", "why": "away\x00.", "heal": "Wait."}
    store.report_device(
        DeviceReport.model_validate(
            {"owner": berth_of("x", "fault a"), "device": "cpu", "engine_id": "a", "next_try_s": 8, **fault}
        )
    )
    [away] = board(store).unwell()
    assert (away.engine_id, away.state, away.why, away.heal) == ("a", "cooling", "away .", "Wait.")
    assert away.next_try_s is not None
    assert 7 <= away.next_try_s <= 8
    assert board(store).unwell(among=["b"]) == []
    assert board(store).states()["b"].state == "ready"


@pytest.mark.parametrize(
    ("among", "kept"), [(("a", "b"), ["b"]), (("a",), []), ((), ["b"])], ids=["both", "the other", "none yet"]
)
def test_work_is_kept_from_engines_whose_experts_are_paused(
    store: SqlJobStore, among: tuple[str, ...], kept: list[str]
) -> None:
    """Of a job without work on any engine it is all that are paused: nobody may be there to be recruited."""
    for engine_id in ("a", "b"):
        store.report_device(DeviceReport(owner=engine_id, device="cpu", serves=("a", "b")))
    some = EngineBoard(store, engine_ids=("a", "b"), loop_of=loop_of, paused=lambda: {"b": 7.0})
    found = some.kept_away(among=among)
    assert [state.engine_id for state in found] == kept
    assert all((s.state, s.since_s, "paused" in (s.why or "")) == ("down", 7.0, True) for s in found)
    assert some.unwell() == []  # what is paused on purpose is no fault


def test_processes_of_another_configuration_are_named_once(store: SqlJobStore) -> None:
    """Those of older versions do not say."""
    for owner, hashed in (("mine", "new"), ("old", "old"), (berth_of("old", "1"), "old"), ("older", None)):
        store.report_device(DeviceReport(owner=owner, device="cpu", config_hash=hashed))
    store.report_device(DeviceReport(owner="steps", device=STEPS, config_hash="old", serves=()))
    assert [report.owner for report in board(store).look("new").strangers] == ["old", "steps"]
