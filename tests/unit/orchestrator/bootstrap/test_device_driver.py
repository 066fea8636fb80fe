"""What a worker that owns a device needs of an app."""

import threading
from pathlib import Path

import pytest

from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.assignments import Job
from orchestrator.domain.queries import Query
from orchestrator.ports.composing import Composition
from orchestrator.settings.load import load_settings
from tests.integration.scripted_pool import EXPERTS, question, write_pool
from workers.leases.advancing import Advancer


def take_a_step(app: App) -> None:
    """Put the calls of ready queries on the books, as a worker for steps does."""
    engine_of = {expert.id: expert.engine.id for expert in app.pool.experts}
    Advancer(jobs=app.store, steps=app.store, compositions=app.catalogue.build, engine_of=engine_of).chunk()


def test_a_worker_that_only_generates_builds_no_composition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it embed or read a profile, although it asks which engines come later."""

    def unbuilt(job: Job) -> Composition:
        raise AssertionError(f"the composition of {job.id} was built")

    monkeypatch.chdir(tmp_path)
    with open_app(load_settings(write_pool(tmp_path))) as app:
        app.store.submit(Job(id="job", composition="majority_all"), [Query(id="q", question=question(1))])
        take_a_step(app)
    with open_app(load_settings(write_pool(tmp_path))) as app:
        monkeypatch.setattr(app.catalogue, "build", unbuilt)
        committed = threading.Event()
        driver = app.device_driver(steps=False, on_committed=committed.set)
        driver.start()
        try:
            while app.store.job("job").n_responses < len(EXPERTS):
                assert committed.wait(60)
                committed.clear()
        finally:
            driver.stop()
        assert app.store.answer("job") is None
