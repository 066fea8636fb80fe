"""Experts that merges registered or removed, in processes that run already."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.keys import KeyTerms
from orchestrator.domain.merges import Lineage, MergedExpert
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import StoreUnavailableError, UnknownNameError
from orchestrator.settings.load import load_settings
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import write_pool

NAME = "merged"
QUESTION = "What is 3 plus 4?"
WITHIN_S = 60.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_pool(tmp_path)
    write_weights(tmp_path, "first")
    return tmp_path


@pytest.fixture
def app(folder: Path) -> Iterator[App]:
    with open_app(load_settings(folder / "pool.yaml"), background=True) as app:
        yield app


def write_weights(folder: Path, text: str) -> None:
    """Weights by which an engine of `scripted` is known; it needs none."""
    (folder / "weights").mkdir(exist_ok=True)
    (folder / "weights" / "model.safetensors").write_text(text)


def merged(folder: Path, says: str = "seven", *, name: str = NAME, delay_s: float = 0.0) -> MergedExpert:
    options = {"answers": {QUESTION: says}, "rules": [{"regex": ".", "delay_s": delay_s}]}
    muster = {"engine": "scripted", "options": options}
    row: dict[str, Any] = {
        "model_name": name,
        "litellm_params": {"model": str(folder / "weights")},
        "model_info": {"muster": muster},
    }
    lineage = Lineage(method="ties", recipe_hash="0" * 64, parents=("alpha",), verdict="kept: better")
    return MergedExpert.model_validate({"id": name, "member": row, "lineage": lineage})


def answer_of(app: App, name: str = NAME) -> str:
    answer = app.asking.ask(Query(id="q", question=QUESTION), AskOptions(model=name))
    assert answer.error_code is None, answer.error
    return answer.text


def knows(app: App, *names: str) -> bool:
    return set(names) <= set(app.experts.pool.by_id)


def test_a_running_server_asks_whom_a_merge_registered_and_drops_whom_it_removed(
    app: App, folder: Path
) -> None:
    client = TestClient(create_app(app))
    assert client.get(f"/v1/experts/{NAME}").status_code == 404
    app.merges.register(merged(folder))
    wait_for("the expert joins", lambda: knows(app, NAME), within_s=WITHIN_S)

    assert answer_of(app) == "seven"
    assert NAME in {model["id"] for model in client.get("/v1/models").json()["data"]}
    shown = client.get(f"/v1/experts/{NAME}").json()
    assert shown["lineage"]["parents"] == ["alpha"]
    states = {row["id"]: row["state"]["state"] for row in client.get("/v1/experts").json()["data"]}
    assert states[NAME] == "ready"

    app.merges.unregister(NAME)
    wait_for("the expert departs", lambda: not knows(app, NAME), within_s=WITHIN_S)
    assert client.get("/v1/experts").status_code == 200
    assert client.get(f"/v1/models/{NAME}").status_code == 404
    with pytest.raises(UnknownNameError, match=NAME):
        answer_of(app)
    assert answer_of(app, "alpha")


@pytest.mark.parametrize("composition", [NAME, "muster/majority_all"])
def test_calls_on_the_books_outlive_their_expert(app: App, folder: Path, composition: str) -> None:
    app.merges.register(merged(folder, delay_s=1.0))
    app.members.look()
    query = Query(id="q", question=QUESTION)

    def recruits() -> bool:
        [decision] = app.asking.route([query], model=composition)
        return NAME in decision.expert_ids

    wait_for("its engine is served", recruits, within_s=WITHIN_S)
    job_id = app.jobs.submit([query], AskOptions(model=composition))
    wait_for("it is asked", lambda: app.store.job(job_id).n_assignments > 0, within_s=WITHIN_S)

    app.merges.unregister(NAME)
    assert app.members.look()

    wait_for("it is answered", lambda: app.store.job(job_id).state.is_over, within_s=WITHIN_S)
    ended = app.store.job(job_id)
    assert (ended.completed, ended.failed) == (1, 0)
    said = {response.expert_id: response.text for response in app.store.query_record(job_id, "q").responses}
    assert said[NAME] == "seven"


def test_a_process_that_did_not_look_yet_steps_what_another_put_on_the_books(folder: Path) -> None:
    settings = load_settings(folder / "pool.yaml")
    with open_app(settings) as late, open_app(settings) as early:
        early.merges.register(merged(folder))
        early.members.look()
        assert not knows(late, NAME)
        job_id = early.jobs.submit([Query(id="q", question=QUESTION)], AskOptions(model=NAME))
        ended = late.dispatcher.run(job_id)
        assert (ended.completed, ended.failed) == (1, 0)


def test_other_weights_of_the_same_name_are_loaded_anew(app: App, folder: Path) -> None:
    app.merges.register(merged(folder))
    app.members.look()
    assert answer_of(app) == "seven"
    before = app.pool.by_id[NAME]
    write_weights(folder, "second")
    app.merges.register(merged(folder, says="eight"))
    app.members.look()
    after = app.pool.by_id[NAME]
    assert before.engine.id != after.engine.id
    assert before.fingerprint != after.fingerprint
    assert answer_of(app) == "eight"


def test_all_processes_call_the_engine_of_a_merged_expert_alike(folder: Path) -> None:
    """Whatever joined before it, and whether it joined at the start or later."""
    settings = load_settings(folder / "pool.yaml")
    with open_app(settings) as live:
        live.merges.register(merged(folder, name="other"))
        live.members.look()
        live.merges.register(merged(folder))
        live.merges.unregister("other")
        live.members.look()
        with open_app(settings) as fresh:
            assert fresh.pool.by_id[NAME] == live.pool.by_id[NAME]
            assert fresh.config_hash == live.config_hash


def test_an_expert_whose_weights_are_gone_departs_and_comes_back_with_them(folder: Path) -> None:
    with open_app(load_settings(folder / "pool.yaml")) as app:
        app.merges.register(merged(folder))
        app.members.look()
        (folder / "weights").rename(folder / "away")
        assert app.members.look()
        assert not knows(app, NAME)
        (folder / "away").rename(folder / "weights")
        assert app.members.look()
        assert knows(app, NAME)
        assert not app.members.look(), "nothing changed"


@pytest.mark.parametrize(
    "broken",
    [
        {"member": {"model_name": "broken", "litellm_params": {"model": "x"}, "new": 1}},
        {"member": {}},
        {"id": "alpha"},
        {"id": "auto"},
        {"member": {"model_name": "another", "litellm_params": {"model": "."}}},
    ],
    ids=["unknown key", "empty", "a member's name", "a composition's name", "another name"],
)
def test_a_row_that_cannot_join_keeps_nobody_out(folder: Path, broken: dict[str, Any]) -> None:
    row = {**merged(folder, name="broken").model_dump(mode="json"), **broken}
    if "id" in broken:
        row["member"]["model_name"] = broken["id"]
    with open_app(load_settings(folder / "pool.yaml")) as app:
        app.merges.register(MergedExpert.model_validate(row))
        app.merges.register(merged(folder))
        assert app.members.look()
        assert knows(app, NAME, "alpha")
        assert len(app.pool.experts) == 4
        assert answer_of(app) == "seven"


def test_a_database_that_is_away_leaves_the_pool_as_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.bootstrap.merged.LOOK_S", 0.01)
    looks: list[str] = []
    with open_app(load_settings(folder / "pool.yaml")) as app:
        rows = app.merges.merged_experts

        def away() -> list[MergedExpert]:
            looks.append("away")
            if len(looks) < 3:
                raise StoreUnavailableError("the database cannot be reached.")
            return rows()

        app.merges.register(merged(folder))
        monkeypatch.setattr(app.merges, "merged_experts", away)
        app.members.start()
        wait_for("it joins in the end", lambda: knows(app, NAME), within_s=WITHIN_S)
        assert len(looks) >= 3


def test_keys_may_name_whom_a_merge_registered_since(folder: Path) -> None:
    with open_app(load_settings(folder / "pool.yaml")) as app:
        with pytest.raises(UnknownNameError, match=NAME):
            app.keys.create(KeyTerms(name="k", experts=(NAME,)))
        app.merges.register(merged(folder))
        app.members.look()
        app.keys.create(KeyTerms(name="k", experts=(NAME,)))
