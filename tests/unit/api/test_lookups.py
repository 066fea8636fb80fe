"""Models, experts, cards, dry runs and health over a scripted app."""

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from api.views.experts import expert_view
from orchestrator.domain.assignments import Job, JobState
from orchestrator.domain.cards import Tally
from orchestrator.domain.diagnoses import Diagnosis
from orchestrator.domain.engines import EngineState
from orchestrator.domain.experts import ExpertRole, Pool
from tests.fakes.app import FakeApp, make_card, make_expert


@pytest.fixture
def client() -> TestClient:
    return TestClient(create_app(FakeApp()), raise_server_exceptions=False)


def test_models_are_the_experts_and_the_virtual_names(client: TestClient) -> None:
    body = client.get("/v1/models").json()
    assert body["object"] == "list"
    owners = {model["id"]: model["owned_by"] for model in body["data"]}
    assert owners == {
        "org/alpha": "pool",
        "beta": "pool",
        "auto": "muster",
        "embed": "muster",
        "muster/knn": "muster",
        "muster/org/mix": "muster",
    }


@pytest.mark.parametrize(
    "model_id", ["auto", "embed", "muster/knn", "muster/org/mix", "org/alpha", "org%2Falpha"]
)
def test_every_listed_model_can_be_looked_up(client: TestClient, model_id: str) -> None:
    body = client.get(f"/v1/models/{model_id}").json()
    assert body["id"] == model_id.replace("%2F", "/")
    assert body["object"] == "model"
    assert body["created"] > 0


def test_a_member_that_only_aggregates_is_a_model_too() -> None:
    """It can be asked by its id."""
    app = FakeApp()
    writer = make_expert("writer").model_copy(update={"roles": frozenset({ExpertRole.AGGREGATOR})})
    app.experts.pool = Pool(experts=(*app.pool.experts, writer))
    client = TestClient(create_app(app))
    assert client.get("/v1/models/writer").json()["owned_by"] == "pool"
    assert "writer" in {model["id"] for model in client.get("/v1/models").json()["data"]}


def test_an_expert_without_outcomes_has_no_accuracy() -> None:
    nothing_measured = make_card("writer").model_copy(update={"total": Tally()})
    assert expert_view(make_expert("writer"), nothing_measured, EngineState(engine_id="e")).accuracy is None


def test_experts_show_what_they_are_and_not_where(client: TestClient) -> None:
    response = client.get("/v1/experts")
    alpha, beta = response.json()["data"]
    assert (alpha["id"], alpha["accuracy"], beta["accuracy"]) == ("org/alpha", 0.7, None)
    assert '"/w"' not in response.text
    assert client.get("/v1/experts/org/alpha").json() == alpha


def test_card_has_counts_per_skill(client: TestClient) -> None:
    card = client.get("/v1/experts/org/alpha/card").json()
    assert card["skills"]["algebra"] == {"n_right": 7, "n_wrong": 2, "n_abstain": 1, "accuracy": 0.7}


def test_missing_card_says_how_to_get_one(client: TestClient) -> None:
    error = client.get("/v1/experts/beta/card").json()["error"]
    assert "muster profile" in error["message"]


def test_route_gives_the_decision_with_reasons_and_asks_nobody() -> None:
    app = FakeApp()
    body = TestClient(create_app(app)).post("/v1/route", json={"question": "x+1=2?"}).json()
    assert [r["expert"] for r in body["recruits"]] == ["org/alpha", "beta"]
    assert (body["model"], body["router"], body["skills"][0]["name"]) == ("auto", "fake", "algebra")
    assert app.store.submitted == []


def test_route_takes_a_conversation_too(client: TestClient) -> None:
    messages = [{"role": "user", "content": "x+1=2?"}]
    response = client.post("/v1/route", json={"messages": messages, "model": "muster/knn"})
    assert response.json()["model"] == "muster/knn"


@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_alive(client: TestClient, path: str) -> None:
    assert client.get(path).json() == {"status": "ok"}


def test_ready_lists_its_checks(client: TestClient) -> None:
    response = client.get("/health/ready")
    assert (response.status_code, response.json()["status"]) == (200, "ready")


def test_not_ready_is_503_with_the_remedy() -> None:
    app = FakeApp(diagnose=lambda: [Diagnosis("cards", False, "none", "Run `muster profile`.")])
    response = TestClient(create_app(app)).get("/health/ready")
    assert response.status_code == 503
    assert response.json()["checks"][0]["remedy"] == "Run `muster profile`."


def test_a_check_that_only_costs_speed_is_reported_and_ready() -> None:
    checks = [
        Diagnosis("database", True, "0 jobs"),
        Diagnosis("broker", False, "the broker cannot be reached.", required=False),
    ]
    response = TestClient(create_app(FakeApp(diagnose=lambda: checks))).get("/health/ready")
    assert (response.status_code, response.json()["degraded"]) == (200, True)


def test_root_links_lead_somewhere(client: TestClient) -> None:
    links = client.get("/v1").json()["links"]
    assert all(client.get(link).status_code != 404 for link in links.values())


def test_openapi_describes_requests_and_answers(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    chat = schema["paths"]["/v1/chat/completions"]["post"]
    assert chat["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("ChatRequest")
    assert schema["components"]["schemas"]["ChatRequest"]["additionalProperties"] is False


def test_the_plan_of_a_job_lists_loads_done_and_left() -> None:
    """4 s load and 10 s of work."""
    app = FakeApp()
    app.store.submit(Job(id="job", composition="auto"), [])
    app.store.state = JobState.RUNNING
    body = TestClient(create_app(app)).get("/v1/jobs/job/plan").json()
    assert (body["object"], body["job"], body["state"]) == ("muster.plan", "job", "running")
    assert (body["loads_done"], body["loads_left"], body["ratio"]) == (0, 1, None)
    assert body["seconds_left"] == pytest.approx(14)
    [stay] = body["stays"]
    assert (stay["device"], stay["engine"], stay["past"]) == ("device", "beta-engine", False)
    assert stay["until_s"] - stay["load_from_s"] == pytest.approx(14)


@pytest.mark.parametrize("composition", ["nobody", "expert:beta", "route:auto"])
def test_a_job_for_a_name_that_nothing_has_is_refused_with_those_there_are(composition: str) -> None:
    app = FakeApp()
    response = TestClient(create_app(app)).post(
        f"/v1/jobs?composition={composition}",
        content=b'{"question": "Why?"}',
        headers={"content-type": "application/jsonl"},
    )
    assert (response.status_code, app.store.submitted) == (404, [])
    assert "Valid: auto, beta, " in response.json()["error"]["message"]


def test_an_unknown_job_has_no_plan(client: TestClient) -> None:
    response = client.get("/v1/jobs/nobody/plan")
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("POST", "/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/v1/chat/completions", "/v1/chat/completions"),
        ("POST", "//v1/chat/completions", "/v1/chat/completions"),
        ("GET", "/models/beta", "/v1/models/beta"),
    ],
)
def test_an_address_with_a_slip_in_its_base_is_told_the_right_one(
    client: TestClient, method: str, path: str, meant: str
) -> None:
    response = client.request(method, path, json={} if method == "POST" else None, follow_redirects=False)
    assert response.status_code == 404
    assert f"Did you mean {meant}?" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/v1", "/chat"])
def test_an_address_that_is_like_no_other_is_told_of_none(client: TestClient, path: str) -> None:
    assert "Did you mean" not in client.post(path, json={}).text
