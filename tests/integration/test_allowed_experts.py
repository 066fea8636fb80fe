"""A key that may ask one expert only: no other one exists for it, and no composition asks another."""

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.keys import KeyTerms, Scope
from orchestrator.settings.load import load_settings
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import question, write_pool

ALLOWED, BARRED = "gamma", "alpha"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("allowed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with open_app(load_settings(write_pool(folder)), background=True) as app:
            yield app


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    """Calls with that key."""
    terms = KeyTerms(scopes=(Scope.ASK, Scope.BATCH), experts=(ALLOWED,))
    headers = {"authorization": f"Bearer {app.keys.create(terms)[1]}"}
    with TestClient(create_app(app), raise_server_exceptions=False, headers=headers) as client:
        yield client


def chat(model: str, **muster: object) -> dict[str, object]:
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": question(3)}]}
    return {**body, "muster": muster} if muster else body


@pytest.mark.parametrize("path", ["/v1/models", "/v1/experts"])
def test_lists_show_nobody_else(client: TestClient, path: str) -> None:
    ids = {item["id"] for item in client.get(path).json()["data"]}
    assert ALLOWED in ids
    assert not ids & {BARRED, "org/beta"}


@pytest.mark.parametrize(
    "path", [f"/v1/models/{BARRED}", f"/v1/experts/{BARRED}", f"/v1/experts/{BARRED}/card"]
)
def test_another_expert_is_as_one_that_there_is_not(client: TestClient, path: str) -> None:
    barred, nobody = client.get(path), client.get(path.replace(BARRED, "zeta"))
    assert barred.status_code == nobody.status_code == 404
    assert barred.text.replace(BARRED, "zeta") == nobody.text


@pytest.mark.parametrize("model", [BARRED, "org/beta", f"muster/{BARRED}"])
def test_another_expert_cannot_be_asked(client: TestClient, model: str) -> None:
    response = client.post("/v1/chat/completions", json=chat(model))
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "model_not_found")
    assert f"'{BARRED}'" not in error["message"].replace(f"'{model}'", "")


@pytest.mark.parametrize("model", ["auto", "muster/majority_all", ALLOWED])
def test_no_composition_asks_anybody_else(client: TestClient, model: str) -> None:
    response = client.post("/v1/chat/completions", json=chat(model))
    assert response.status_code == 200
    assert set(response.headers["x-muster-experts"].split(",")) == {ALLOWED}


def test_a_batch_asks_nobody_else(client: TestClient) -> None:
    lines = "\n".join(json.dumps({"id": f"q{n}", "question": question(n)}) for n in range(5))
    typed = {"content-type": "application/jsonl"}
    made = client.post("/v1/jobs?composition=muster/majority_all", content=lines, headers=typed).json()
    path = f"/v1/jobs/{made['id']}"
    wait_for("the end", lambda: client.get(path).json()["state"] == "done", within_s=60)
    assert client.get(path).json()["calls"] == 5


@pytest.mark.parametrize("model", [BARRED, "org/beta"])
def test_a_line_cannot_name_anybody_else(client: TestClient, model: str) -> None:
    line = json.dumps({"id": "q", "question": question(1), "model": model})
    typed = {"content-type": "application/jsonl"}
    response = client.post("/v1/jobs", content=line, headers=typed)
    assert response.status_code in (400, 404)
    assert model in response.json()["error"]["message"]
