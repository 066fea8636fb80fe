"""What every store of pauses promises, whatever the database."""

import pytest

from orchestrator.domain.pauses import paused_engines
from orchestrator.services.pauses import PauseWatch
from orchestrator.store import Database, SqlPauseStore
from tests.fakes.work import HandClock, make_pool


def test_for_how_long_an_engine_is_paused_goes_by_the_databases_clock(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host whose clock is a day ahead must not fail what waits for a pause of a second."""
    monkeypatch.setattr("time.time", lambda: 1e10)
    store = SqlPauseStore(database)
    store.pause("a/0", reason="")
    watch = PauseWatch(store, pool=lambda: make_pool("a", "b"), clock=HandClock())
    [(engine_id, for_s)] = watch.engines().items()
    assert engine_id == "a"
    assert 0 <= for_s < 60


def test_an_engine_is_paused_for_as_long_as_the_last_of_its_experts(database: Database) -> None:
    store = SqlPauseStore(database)
    for expert_id in ("a/0", "a/1"):
        store.pause(expert_id, reason="")
    ages = {"a/0": 50.0, "a/1": 20.0}
    pauses = [pause.replaced(for_s=ages[pause.expert_id]) for pause in store.pauses()]
    assert paused_engines(make_pool("a", experts_per_engine=2), pauses) == {"a": 20.0}
    assert paused_engines(make_pool("a", experts_per_engine=2), pauses[:1]) == {}
