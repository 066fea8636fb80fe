"""`POST /v1/feedback` over a scripted app."""

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.domain.assignments import Job
from orchestrator.domain.feedback import ALL_SKILLS, Drift
from orchestrator.domain.posteriors import Interval
from tests.fakes.app import FakeApp

FEEDBACK = "/v1/feedback"


@pytest.fixture
def app() -> FakeApp:
    """Knows `ask-1` and `job-1`."""
    app = FakeApp()
    for job_id in ("ask-1", "job-1"):
        app.store.submit(Job(id=job_id, composition="auto"), [])
    return app


@pytest.fixture
def client(app: FakeApp) -> TestClient:
    return TestClient(create_app(app), raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("verdict", "score"),
    [({"right": True}, 1), ({"right": False}, 0), ({"score": 0.25}, 0.25), ({"score": 1}, 1)],
)
def test_a_verdict_is_right_wrong_or_a_score(
    client: TestClient, app: FakeApp, verdict: dict[str, object], score: float
) -> None:
    response = client.post(FEEDBACK, json={"job": "ask-1", **verdict})
    assert response.status_code == 200
    assert app.feedback.judged == [("ask-1", None, score, "")]
    assert response.json()["experts"]["org/alpha"]["n_right"] == score


def test_the_idempotency_key_tells_judgements_apart(client: TestClient, app: FakeApp) -> None:
    body = {"job": "job-1", "query": "q7", "right": True}
    client.post(FEEDBACK, json=body, headers={"idempotency-key": "user-4"})
    assert app.feedback.judged == [("job-1", "q7", 1.0, "user-4")]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"job": "j"}, None),
        ({"job": "j", "right": True, "score": 1}, None),
        ({"right": True}, "job"),
        ({"job": "", "right": True}, "job"),
        ({"job": "j", "query": "", "right": True}, "query"),
        ({"job": "j", "score": 1.5}, "score"),
        ({"job": "j", "score": -0.1}, "score"),
        ({"job": "j", "score": "1"}, "score"),
        ({"job": "j", "right": 1}, "right"),
        ({"job": "j", "right": True, "vote": 1}, "vote"),
    ],
)
def test_bad_bodies_are_400_with_the_field(
    client: TestClient, app: FakeApp, body: dict[str, object], param: str | None
) -> None:
    response = client.post(FEEDBACK, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert app.feedback.judged == []


def test_neither_right_nor_score_is_said_in_words(client: TestClient) -> None:
    assert "give either right or score" in client.post(FEEDBACK, json={"job": "j"}).json()["error"]["message"]


def test_a_judgement_of_no_job_is_404(client: TestClient, app: FakeApp) -> None:
    response = client.post(FEEDBACK, json={"job": "ask-2", "right": True})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert app.feedback.judged == []


def test_a_key_that_is_none_is_refused(client: TestClient) -> None:
    response = client.post(FEEDBACK, json={"job": "j", "right": True}, headers={"idempotency-key": "a b"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_idempotency_key")


def test_a_card_shows_its_own_drift(client: TestClient, app: FakeApp) -> None:
    app.experts.drifting = [
        Drift("org/alpha", ALL_SKILLS, 0.2, 20, 0.7, Interval(0.5, 0.9), 20_000, 20_007),
        Drift("beta", "algebra", 0.9, 30, 0.5, Interval(0.3, 0.7), 20_000, 20_007),
    ]
    card = client.get("/v1/experts/org/alpha/card").json()
    [drift] = card["drift"]
    assert (drift["expert"], drift["skill"], drift["recent"], drift["n"]) == ("org/alpha", None, 0.2, 20)
    assert (drift["expected"], drift["low"], drift["high"]) == (0.7, 0.5, 0.9)
    assert drift["since"] == 20_000 * 86_400
    assert card["feedback"]["n_right"] == 0
