"""A key with a budget, over REST: refused in words that clients understand, and no call is made."""

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.keys import KeyBudget, KeyTerms, Scope
from orchestrator.settings.load import load_settings
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import question, write_pool


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("budgets")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with open_app(load_settings(write_pool(folder)), background=True) as app:
            yield app


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


def bearer(app: App, **budget: object) -> dict[str, str]:
    terms = KeyTerms(scopes=(Scope.ASK, Scope.BATCH), budget=KeyBudget(**budget))
    return {"authorization": f"Bearer {app.keys.create(terms)[1]}"}


def chat(model: str = "alpha", *, stream: bool = False, max_tokens: int = 8) -> dict[str, object]:
    messages = [{"role": "user", "content": question(3)}]
    return {"model": model, "messages": messages, "stream": stream, "max_tokens": max_tokens}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["alpha", "muster/majority_all"])
def test_a_question_without_room_is_429_and_asks_nobody(
    app: App, client: TestClient, model: str, stream: bool
) -> None:
    headers = bearer(app, tokens=50)
    response = client.post("/v1/chat/completions", json=chat(model, stream=stream), headers=headers)
    error = response.json()["error"]
    assert response.status_code == 429
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    assert "max_tokens" in error["message"]
    assert response.headers["x-should-retry"] == "false"
    assert "retry-after" not in response.headers
    [job] = client.get("/v1/jobs", headers=headers).json()["data"]
    assert job["calls"] == 0


def test_a_budget_is_used_up_by_what_was_used_and_not_by_what_was_held(app: App, client: TestClient) -> None:
    """One question may take about 120 tokens and takes about a dozen: there is room for many."""
    headers = bearer(app, tokens=200)
    answers = [client.post("/v1/chat/completions", json=chat(), headers=headers) for _ in range(40)]
    n_used = [a.json()["usage"]["total_tokens"] for a in answers if a.status_code == 200]
    assert len(n_used) > 3
    assert sum(n_used) <= 200
    assert answers[-1].status_code == 429


def test_shorter_answers_find_room_that_longer_ones_do_not(app: App, client: TestClient) -> None:
    headers = bearer(app, tokens=200)
    long, short = (
        client.post("/v1/chat/completions", json=chat(max_tokens=n), headers=headers) for n in (500, 8)
    )
    assert (long.status_code, short.status_code) == (429, 200)


def test_lines_of_a_batch_fail_one_by_one(app: App, client: TestClient) -> None:
    headers = bearer(app, tokens=1200)
    lines = "\n".join(json.dumps({"id": f"q{n}", "question": question(n)}) for n in range(12))
    typed = {**headers, "content-type": "application/jsonl"}
    made = client.post("/v1/jobs?composition=alpha", content=lines, headers=typed).json()
    path = f"/v1/jobs/{made['id']}"
    wait_for("the end", lambda: client.get(path, headers=headers).json()["state"] == "done", within_s=60)
    counts = client.get(path, headers=headers).json()["counts"]
    assert counts["completed"] + counts["failed"] == 12
    assert counts["completed"] >= 1
    assert counts["failed"] >= 1
    failed = [
        line
        for line in client.get(f"{path}/answers", headers=headers).text.splitlines()
        if "insufficient_quota" in line
    ]
    assert len(failed) == counts["failed"]


def test_the_list_of_keys_says_what_is_used(app: App, client: TestClient) -> None:
    headers = bearer(app, tokens=500)
    used = client.post("/v1/chat/completions", json=chat(), headers=headers).json()["usage"]["total_tokens"]
    admin = app.keys.create(KeyTerms(scopes=(Scope.ADMIN,)))[1]
    listed = client.get("/v1/keys", headers={"authorization": f"Bearer {admin}"}).json()["data"]
    [key] = [one for one in listed if (one["budget"] or {}).get("tokens") == 500]
    assert (key["used"]["tokens"], key["held"]["tokens"]) == (used, 0)
