"""The REST API over scripted experts: real store, scheduler, routing and aggregation."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.assignments import JobState
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings
from tests.integration.scripted_pool import EXPERTS, question, write_pool, write_questions

CHAT = "/v1/chat/completions"
HANGS, FAILS = 150, 151
"""Questions that the first expert never answers, and cannot answer."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("rest")
    rules = [
        {"match": question(HANGS), "hang": True},
        {"match": question(FAILS), "fail": "context_exceeded"},
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = load_settings(write_pool(folder, rules=rules))
        with open_app(settings) as fresh:
            known = read_questions(write_questions(folder / "known.jsonl", range(20)))
            fresh.profiling.run(known, exam=False)
        with open_app(settings, background=True) as app:
            yield app


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


def chat(number: int, model: str = "auto", **muster: object) -> dict[str, object]:
    options = [str(2 * number + more) for more in range(3)]
    messages = [{"role": "user", "content": question(number)}]
    return {"model": model, "messages": messages, "muster": {"options": options, **muster}}


def test_experts_are_recruited_asked_and_outvoted(client: TestClient, app: App) -> None:
    response = client.post(CHAT, json=chat(30, "muster/majority_all"))
    muster = response.json()["muster"]
    assert response.status_code == 200
    assert {vote["expert"] for vote in muster["votes"]} == set(EXPERTS)
    assert muster["n_calls"] == 3
    assert response.json()["usage"]["completion_tokens"] >= 4
    assert app.jobs.job(muster["job_id"]).state is JobState.DONE


def test_auto_gives_reasons_from_the_cards(client: TestClient) -> None:
    body = client.post(CHAT, json=chat(31)).json()
    [best, *_] = body["muster"]["reasons"]["recruits"]
    assert best["expert"] == "alpha"
    assert best["evidence"][0]["n"] > 0
    assert 0 < body["muster"]["confidence"] <= 1


def test_the_same_question_and_seed_get_the_same_answer(client: TestClient) -> None:
    request = {**chat(32), "seed": 5, "temperature": 1}
    first, second = (client.post(CHAT, json=request).json() for _ in range(2))
    assert first["choices"] == second["choices"]
    assert first["muster"]["reasons"] == second["muster"]["reasons"]
    assert first["id"] != second["id"]


@pytest.mark.parametrize("model", ["org/beta", "auto"])
def test_a_stream_is_the_stored_answer(client: TestClient, app: App, model: str) -> None:
    """An expert's words come as they are written, a vote's at the end."""
    response = client.post(CHAT, json={**chat(34, model), "stream": True})
    *events, done = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    choices = [json.loads(event)["choices"][0] for event in events]
    answer = app.store.answer(response.headers["x-muster-decision-id"])
    assert answer is not None
    assert (done, choices[-1]["finish_reason"]) == ("[DONE]", "stop")
    assert "".join(choice["delta"].get("content", "") for choice in choices) == answer.text


def test_an_expert_answers_alone_in_its_own_words(client: TestClient) -> None:
    body = client.post(CHAT, json=chat(33, "org/beta")).json()
    assert (body["model"], body["muster"]["answered_by"]) == ("org/beta", "org/beta")
    assert body["choices"][0]["message"]["content"].startswith("The answer is")


def test_free_text_needs_no_options(client: TestClient) -> None:
    body = {"model": "alpha", "messages": [{"role": "user", "content": "Tell me anything."}]}
    assert client.post(CHAT, json=body).json()["choices"][0]["message"]["content"].startswith("answer-")


def test_free_text_of_one_expert_ends_where_max_tokens_says(client: TestClient) -> None:
    messages = [{"role": "user", "content": question(37)}]
    body = client.post(CHAT, json={"model": "alpha", "messages": messages, "max_tokens": 2}).json()
    [choice] = body["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"].startswith("The answer")
    assert (body["muster"]["answer_type"], body["muster"]["votes"]) == ("open", [])
    assert body["muster"]["confidence"] is None


def test_a_truncated_response_is_no_vote(client: TestClient) -> None:
    response = client.post(CHAT, json={**chat(37, "muster/majority_all"), "max_tokens": 2})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "no_answer")


def test_questions_side_by_side_each_get_their_own_answer(client: TestClient) -> None:
    numbers = range(40, 52)
    with ThreadPoolExecutor(6) as callers:
        bodies = list(callers.map(lambda n: client.post(CHAT, json=chat(n, "alpha")).json(), numbers))
    assert len({body["muster"]["job_id"] for body in bodies}) == len(numbers)
    assert all(body["choices"][0]["message"]["content"] for body in bodies)


def test_an_expert_that_hangs_ends_in_504_and_a_cancelled_job(client: TestClient, app: App) -> None:
    response = client.post(CHAT, json=chat(HANGS, "alpha", timeout_s=0.3))
    assert (response.status_code, response.json()["error"]["code"]) == (504, "generation_timeout")
    job = app.jobs.job(response.headers["x-muster-decision-id"])
    assert job.state is JobState.CANCELLED
    assert client.post(CHAT, json=chat(34, "alpha")).status_code == 200


def test_an_expert_that_fails_alone_is_an_error_and_among_others_an_abstention(client: TestClient) -> None:
    alone = client.post(CHAT, json=chat(FAILS, "alpha"))
    assert alone.status_code >= 400
    assert "alpha" in alone.json()["error"]["message"]
    among = client.post(CHAT, json=chat(FAILS, "muster/majority_all"))
    assert among.status_code == 200
    assert among.json()["muster"]["degraded"] is True


def test_extreme_seeds_and_unusual_text_survive_the_store(client: TestClient) -> None:
    body = {"model": "alpha", "messages": [{"role": "user", "content": "‮abc‬ Z̷a̸l 😀"}]}
    for seed in (2**63 - 1, -(2**63)):
        assert client.post(CHAT, json={**body, "seed": seed}).status_code == 200


def test_route_agrees_with_what_is_then_recruited(client: TestClient) -> None:
    options = [str(70 + more) for more in range(3)]
    routed = client.post("/v1/route", json={"question": question(35), "options": options}).json()
    answered = client.post(CHAT, json=chat(35)).json()
    assert [r["expert"] for r in routed["recruits"]] == answered["muster"]["recruits"]
    assert routed["card_version"] == answered["muster"]["reasons"]["card_version"]


def test_every_stock_composition_is_a_model_that_answers(client: TestClient) -> None:
    listed = client.get("/v1/models").json()["data"]
    ids = [model["id"] for model in listed if model["id"] != "embed"]  # it answers nothing
    assert {"auto", "muster/knn", "org/beta"} <= set(ids)
    statuses = {model: client.post(CHAT, json=chat(36, model)).status_code for model in ids}
    assert set(statuses.values()) == {200}, statuses


def test_cards_are_served(client: TestClient) -> None:
    card = client.get("/v1/experts/org/beta/card").json()
    assert card["total"]["n_right"] + card["total"]["n_wrong"] == 20
    assert card["skills"]


def test_ready_once_profiled(client: TestClient) -> None:
    response = client.get("/health/ready")
    assert response.status_code == 200, response.json()


def test_not_ready_before_profiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_app(load_settings(write_pool(tmp_path))) as app:
        response = TestClient(create_app(app)).get("/health/ready")
    assert response.status_code == 503
    assert any("muster profile" in check["detail"] for check in response.json()["checks"])
