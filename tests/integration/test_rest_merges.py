"""`/v1/merges` over a real app: what may be named, what comes out, cancelled and resumed."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap import merge_runner
from orchestrator.bootstrap.app import App, open_app
from orchestrator.bootstrap.merge_runner import MergeRunner
from orchestrator.domain.merges import MergeState
from orchestrator.errors import MergeStoppedError
from orchestrator.services.merges import bounds_of
from orchestrator.settings.load import load_settings
from tests.fakes.checkpoints import tensors, write_checkpoint
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import write_pool
from tests.integration.test_merge_cli import here

MERGES = "/v1/merges"
RECIPE = {
    "merge_method": "task_arithmetic",
    "base_model": "base",
    "models": [{"model": "a", "parameters": {"weight": 0.5}}],
}


def write_models(folder: Path) -> Path:
    write_checkpoint(folder / "models" / "base", tensors(0))
    write_checkpoint(folder / "models" / "a", {n: t + 0.01 for n, t in tensors(0).items()})
    write_checkpoint(folder / "secret", tensors(0))
    (folder / "models" / "link").symlink_to("../secret")
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_models(tmp_path)


class Refusing(NamedTuple):
    """A server that is asked for what it refuses, and the folder that it may not tell of."""

    client: TestClient
    folder: Path


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusing]:
    folder = write_models(tmp_path_factory.mktemp("refusing"))
    merges = {"read": ["models"], "write": "merged", "max_live": 50}
    with contextlib.chdir(folder), opened(folder, merges) as app:
        yield Refusing(TestClient(create_app(app)), folder)


@pytest.fixture
def app(folder: Path) -> Iterator[App]:
    with opened(folder, {"read": ["models"], "write": "merged"}) as app:
        yield app


def opened(folder: Path, merges: dict[str, Any]) -> Any:
    path = write_pool(folder)
    document = yaml.safe_load(path.read_text())
    document.setdefault("muster", {})["merges"] = merges
    path.write_text(yaml.safe_dump(document))
    return open_app(load_settings(path))


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(create_app(app))


def runner(app: App) -> MergeRunner:
    bounds = bounds_of(app.settings)
    assert bounds is not None
    return MergeRunner(app.merges, app.settings, bounds, child=here)


def submit(client: TestClient, recipe: Any = RECIPE, *, code: int = 202, **more: Any) -> Any:
    body = {"recipe": recipe, "out": "x", "profile": False, **more}
    response = client.post(MERGES, json=body)
    assert response.status_code == code, response.text
    return response.json()


def test_a_merge_is_queued_made_and_told(folder: Path, app: App, client: TestClient) -> None:
    asked = submit(client)
    assert (asked["state"], asked["object"], asked["merge"]) == ("queued", "muster.merge", None)

    assert runner(app).run_one()

    told = client.get(f"{MERGES}/{asked['id']}").json()
    assert (told["state"], told["verdict"], told["done"], told["of"]) == ("completed", "merged", 8, 8)
    assert set(told["merge"]) == {"method", "out", "sha256", "seconds", "peak_rss_mb", "tensors"}
    assert told["merge"]["out"] == "x"
    assert str(folder) not in json.dumps(told)
    assert (folder / "merged" / "x" / "model.safetensors").is_file()
    assert [job["id"] for job in client.get(MERGES).json()["data"]] == [asked["id"]]
    assert not runner(app).run_one()


ELSEWHERE = ["../secret", "models/../../secret", "/etc", "~/x", "base+../secret", "../merged2", "link"]


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("place", ["base_model", "models", "lora"])
def test_nothing_outside_of_the_folders_may_be_named(refusing: Refusing, name: str, place: str) -> None:
    client, folder = refusing
    named = {
        "base_model": {**RECIPE, "base_model": name},
        "models": {**RECIPE, "models": [{"model": name}]},
        "lora": {**RECIPE, "models": [{"model": {"model": {"path": "a"}, "lora": {"path": name}}}]},
    }[place]
    if name == "~/x" or (place, name) == ("lora", "base+../secret"):  # names of folders that are not there
        assert submit(client, named)["state"] == "queued"
        return
    error = submit(client, named, code=400)["error"]
    assert "below the folders" in error["message"] or "is no model" in error["message"]
    assert str(folder) not in error["message"]


@pytest.mark.parametrize("out", ["../x", "a/b", "", ".hidden", "/tmp/x", "x" * 101, "a\0b", None, 3])
def test_a_result_has_a_plain_name(refusing: Refusing, out: Any) -> None:
    assert submit(refusing.client, out=out, code=400)["error"]["param"] == "out"


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("merge_method: tise\nmodels: [{model: a}]\n", "Did you mean 'ties'?"),
        ("merge_method: ties\nmodels: [{model: a}]\n", "needs a base model"),
        ("merge_method: della\nbase_model: base\nmodels: [{model: a}]\n", "not asked over REST"),
        ("a: [", "recipe:"),
        ("", "empty"),
        ({"merge_method": "linear", "models": [{"model": "a"}], "x": 1}, "unknown key 'x'"),
        ({}, "empty"),
        ("x: &a [*a]\n", "recipe"),
        ("a" * 200_001, "longer than"),
    ],
)
def test_a_wrong_recipe_is_refused_at_once(refusing: Refusing, recipe: Any, said: str) -> None:
    error = submit(refusing.client, recipe, code=404 if "tise" in recipe else 400)["error"]
    assert said in error["message"]
    assert "muster-recipe" not in error["message"]


def test_a_model_that_is_not_there_refuses_the_merge(app: App, client: TestClient) -> None:
    asked = submit(client, {**RECIPE, "base_model": "none"})
    runner(app).run_one()
    told = client.get(f"{MERGES}/{asked['id']}").json()
    assert (told["state"], told["preflight"]["ok"], told["merge"]["sha256"]) == ("refused", False, None)
    assert told["preflight"]["problems"][0]["kind"] == "model"


def test_a_place_that_is_taken_fails_the_merge_and_force_replaces_it(app: App, client: TestClient) -> None:
    for number, force in enumerate((False, False, True)):
        asked = submit(client, {**RECIPE, "parameters": {"lambda": 1 + number}}, force=force)
        runner(app).run_one()
        told = client.get(f"{MERGES}/{asked['id']}").json()
        assert told["state"] == ("failed" if number == 1 else "completed")
    assert "there already" in client.get(MERGES).json()["data"][1]["error"]


def test_merges_are_off_by_default(folder: Path) -> None:
    for merges in ({}, {"read": ["models"]}, {"write": "merged"}):
        with opened(folder, merges) as app:
            client = TestClient(create_app(app))
            assert submit(client, code=403)["error"]["code"] == "merges_closed"
            assert client.get(MERGES).json()["data"] == []
            assert client.get(f"{MERGES}/none").status_code == 404


def test_no_more_than_allowed_wait(folder: Path) -> None:
    with opened(folder, {"read": ["models"], "write": "merged", "max_live": 1}) as app:
        client = TestClient(create_app(app))
        first = submit(client)
        assert submit(client, code=429)["error"]["code"] == "too_many_merges"
        assert client.post(f"{MERGES}/{first['id']}/cancel").json()["state"] == "cancelled"
        assert not runner(app).run_one()
        assert client.post(f"{MERGES}/{first['id']}/resume").json()["state"] == "queued"
        assert client.post(f"{MERGES}/{first['id']}/resume").status_code == 409


def test_a_merge_needs_room(folder: Path) -> None:
    with opened(folder, {"read": ["models"], "write": "merged", "max_gib": 1e-9}) as app:
        client = TestClient(create_app(app))
        (folder / "merged").mkdir()
        (folder / "merged" / "large").write_bytes(b"x" * 100)
        asked = submit(client)
        runner(app).run_one()
        told = client.get(f"{MERGES}/{asked['id']}").json()
        assert (told["state"], "GiB" in told["error"]) == ("failed", True)


def test_a_running_merge_that_is_cancelled_ends_and_can_be_resumed(app: App, client: TestClient) -> None:
    """Cancelled between being taken and being made: the first look at the database ends it."""
    asked = submit(client)

    class Cancels:
        """The store, with somebody who cancels whatever is taken."""

        def __getattr__(self, name: str) -> Any:
            return getattr(app.merges, name)

        def take(self, owner: str, *, silent_s: float) -> Any:
            job = app.merges.take(owner, silent_s=silent_s)
            if job is not None:
                assert client.post(f"{MERGES}/{job.id}/cancel").json()["state"] == "cancelling"
            return job

    bounds = bounds_of(app.settings)
    assert bounds is not None
    assert MergeRunner(Cancels(), app.settings, bounds).run_one()
    assert app.merges.merge_job(asked["id"]).state is MergeState.CANCELLED
    assert not (bounds.write / "x").exists()

    assert client.post(f"{MERGES}/{asked['id']}/resume").status_code == 202
    assert runner(app).run_one()
    assert app.merges.merge_job(asked["id"]).state is MergeState.COMPLETED
    assert client.post(f"{MERGES}/{asked['id']}/resume").status_code == 400


def test_a_merge_that_takes_long_over_a_tensor_is_not_taken_for_lost(
    app: App, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_runner, "BEAT_S", 0.01)
    asked = submit(client)
    told: list[str] = []
    change = app.merges.change

    class Heard:
        """The store, which notes who tells of the job."""

        def __getattr__(self, name: str) -> Any:
            return getattr(app.merges, name)

        def change(self, job_id: str, change_of: Any, **more: Any) -> Any:
            told.append(threading.current_thread().name)
            return change(job_id, change_of, **more)

    def slow(folder: Path, on_progress: Any, stopped: Any) -> Any:
        wait_for("it is told of", lambda: told.count("muster-merge-beat") >= 3, within_s=30)
        return here(folder, on_progress, stopped)

    bounds = bounds_of(app.settings)
    assert bounds is not None
    assert MergeRunner(Heard(), app.settings, bounds, child=slow).run_one()
    assert app.merges.merge_job(asked["id"]).state is MergeState.COMPLETED


def test_a_merge_that_was_taken_for_lost_stops_and_says_nothing_more(app: App, client: TestClient) -> None:
    asked = submit(client)

    def lost(folder: Path, on_progress: Any, stopped: Any) -> Any:
        assert app.merges.take("another", silent_s=-1) is None
        wait_for("it is stopped", stopped, within_s=30)
        raise MergeStoppedError("stopped.")

    bounds = bounds_of(app.settings)
    assert bounds is not None
    assert MergeRunner(app.merges, app.settings, bounds, child=lost).run_one()
    assert app.merges.merge_job(asked["id"]).state is MergeState.INTERRUPTED
    assert client.post(f"{MERGES}/{asked['id']}/resume").status_code == 202
    assert runner(app).run_one()
    assert app.merges.merge_job(asked["id"]).state is MergeState.COMPLETED


def test_a_profile_needs_questions(client: TestClient) -> None:
    assert "no questions" in submit(client, profile=True, code=400)["error"]["message"]
