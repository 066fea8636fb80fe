"""Feedback through the real app: the cards of those who took part move, and so does the deck."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.assignments import Job
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings
from tests.integration.scripted_pool import question, write_pool, write_questions

CHAT, FEEDBACK = "/v1/chat/completions", "/v1/feedback"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("orchestrator.compositions.catalogue.REFRESH_S", 0.0)
    monkeypatch.setattr("orchestrator.compositions.catalogue.FEEDBACK_S", 0.0)
    settings = load_settings(write_pool(tmp_path))
    with open_app(settings) as fresh:
        fresh.profiling.run(read_questions(write_questions(tmp_path / "known.jsonl", range(20))), exam=False)
    with open_app(settings, background=True) as app:
        yield app


@pytest.fixture
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


def ask(client: TestClient, number: int, model: str = "muster/majority_all") -> dict[str, object]:
    options = [str(2 * number + more) for more in range(3)]
    messages = [{"role": "user", "content": question(number)}]
    request = {"model": model, "messages": messages, "muster": {"options": options}}
    muster = client.post(CHAT, json=request).json()["muster"]
    assert isinstance(muster, dict)
    return muster


def card(client: TestClient, expert_id: str) -> dict[str, dict[str, float]]:
    return client.get(f"/v1/experts/{expert_id}/card").json()


def test_a_right_answer_counts_for_those_who_gave_it_and_against_the_others(client: TestClient) -> None:
    muster = ask(client, 30)
    before = {e: card(client, e) for e in ("alpha", "org/beta", "gamma")}
    response = client.post(FEEDBACK, json={"job": muster["job_id"], "right": True})
    assert response.status_code == 200
    for vote in muster["votes"]:
        now, then = card(client, vote["expert"]), before[vote["expert"]]
        agreed = vote["value"] == muster["value"]
        assert now["total"]["n_right"] - then["total"]["n_right"] == agreed
        assert now["total"]["n_wrong"] - then["total"]["n_wrong"] == (not agreed)
        assert now["feedback"]["n_right"] == agreed


def test_a_wrong_answer_counts_against_those_who_gave_it_only(client: TestClient) -> None:
    muster = ask(client, 31)
    said = client.post(FEEDBACK, json={"job": muster["job_id"], "right": False}).json()["experts"]
    for vote in muster["votes"]:
        agreed = vote["value"] == muster["value"]
        assert (said[vote["expert"]]["n_wrong"], said[vote["expert"]]["n_right"]) == (agreed, 0)


def test_the_skills_of_the_question_are_counted(client: TestClient) -> None:
    muster = ask(client, 32, "muster/skills")
    [skill, *_] = muster["reasons"]["skills"]
    expert = next(vote["expert"] for vote in muster["votes"] if vote["value"] == muster["value"])
    before = card(client, expert)["skills"][skill["name"]]
    client.post(FEEDBACK, json={"job": muster["job_id"], "score": 0.5})
    after = card(client, expert)["skills"][skill["name"]]
    assert (after["n_right"] - before["n_right"], after["n_wrong"] - before["n_wrong"]) == (0.5, 0.5)


def test_routers_see_feedback_and_decisions_record_the_new_version(client: TestClient) -> None:
    """Enough wrong answers of the strongest expert make another one the best single."""
    first = ask(client, 33, "muster/best_single")
    assert first["recruits"] == ["alpha"]
    for user in range(80):
        key = {"idempotency-key": f"user-{user}"}
        client.post(FEEDBACK, json={"job": first["job_id"], "right": False}, headers=key)
    later = ask(client, 34, "muster/best_single")
    assert later["recruits"] != ["alpha"]
    assert later["reasons"]["card_version"] != first["reasons"]["card_version"]


def test_feedback_far_from_the_history_is_drift(client: TestClient) -> None:
    muster = ask(client, 35, "alpha")
    for user in range(30):
        key = {"idempotency-key": f"user-{user}"}
        client.post(FEEDBACK, json={"job": muster["job_id"], "right": False}, headers=key)
    drift = client.get("/v1/experts/alpha/card").json()["drift"]
    assert drift[0]["skill"] is None
    assert (drift[0]["recent"], drift[0]["n"]) == (0, 30)
    assert drift[0]["low"] > 0


def test_repeating_changes_nothing_and_contradicting_is_a_conflict(client: TestClient) -> None:
    job = ask(client, 36)["job_id"]
    first = client.post(FEEDBACK, json={"job": job, "right": True})
    again = client.post(FEEDBACK, json={"job": job, "right": True})
    assert first.json() == again.json()
    other = client.post(FEEDBACK, json={"job": job, "right": False})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "already_judged")


def test_what_is_not_there_or_has_no_answer_is_refused(client: TestClient, app: App, tmp_path: Path) -> None:
    job = ask(client, 37)["job_id"]
    missing = client.post(FEEDBACK, json={"job": "nobody", "right": True})
    wrong = client.post(FEEDBACK, json={"job": job, "query": "other", "right": True})
    assert (missing.status_code, wrong.status_code) == (404, 404)
    app.store.submit(Job(id="cancelled", composition="auto"), read_questions(tmp_path / "known.jsonl"))
    app.jobs.cancel("cancelled")
    several = client.post(FEEDBACK, json={"job": "cancelled", "right": True})
    assert (several.status_code, "Name one" in several.json()["error"]["message"]) == (400, True)
    failed = client.post(FEEDBACK, json={"job": "cancelled", "query": "q3", "right": True})
    assert (failed.status_code, failed.json()["error"]["param"]) == (400, "query")


def test_a_restart_keeps_feedback_and_a_new_profile_too(app: App, client: TestClient, tmp_path: Path) -> None:
    """Measured cards stay what they were: an export holds no feedback."""
    client.post(FEEDBACK, json={"job": ask(client, 38, "alpha")["job_id"], "right": True})
    with open_app(app.settings) as other:
        assert other.experts.cards()["alpha"].feedback.n == 1
        assert other.experts.measured()["alpha"].feedback.n == 0
        other.profiling.run(read_questions(write_questions(tmp_path / "more.jsonl", range(25))), exam=False)
        assert other.experts.cards()["alpha"].feedback.n == 1
