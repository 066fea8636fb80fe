"""Muster's own resources over REST: lists by pages, experts that are paused and resumed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.assignments import JobState
from orchestrator.settings.load import load_settings
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import EXPERTS, question, write_pool
from workers.leases import advancing, resting

CHAT = "/v1/chat/completions"
LISTS = ("/v1/experts", "/v1/jobs", "/v1/merges", "/v1/profiles", "/v1/keys")
OPENAI_LISTS = ("/v1/files", "/v1/batches")


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    config = write_pool(tmp_path, scheduler={"engine_down_interactive_s": 1.0})
    with open_app(load_settings(config), background=True) as app:
        yield app


@pytest.fixture
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client for tests that only look: one app for all of them."""
    folder = tmp_path_factory.mktemp("read")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with (
            open_app(load_settings(write_pool(folder)), background=True) as app,
            TestClient(create_app(app), raise_server_exceptions=False) as client,
        ):
            yield client


def chat(client: TestClient, number: int, model: str = "muster/majority_all") -> dict[str, object]:
    options = [str(2 * number + more) for more in range(3)]
    messages = [{"role": "user", "content": question(number)}]
    body = {"model": model, "messages": messages, "muster": {"options": options}}
    answer: dict[str, object] = client.post(CHAT, json=body).json()
    return answer


def recruits(answer: dict[str, object]) -> set[str]:
    return {recruit["expert"] for recruit in answer["muster"]["reasons"]["recruits"]}  # type: ignore[index]


@pytest.mark.parametrize("path", [*LISTS, *OPENAI_LISTS])
def test_every_list_has_one_form(reader: TestClient, path: str) -> None:
    page = reader.get(path, params={"limit": 2}).json()
    assert set(page) == {"object", "data", "first_id", "last_id", "has_more"}
    assert page["object"] == "list"
    if page["data"]:
        assert page["first_id"] == page["data"][0]["id"]
        assert page["last_id"] == page["data"][-1]["id"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "after=nothing", "order=up", "before=x"]
)
def test_pages_that_there_are_not_are_refused_by_name(reader: TestClient, path: str, query: str) -> None:
    response = reader.get(f"{path}?{query}")
    assert response.status_code in (400, 422)
    assert response.json()["error"]["param"] == query.split("=")[0]


@pytest.mark.parametrize("path", OPENAI_LISTS)
@pytest.mark.parametrize("query", ["limit=0", "limit=x", "after=nothing", "after=%00", "order=up"])
def test_pages_that_there_are_not_are_refused_by_openai_s_lists_too(
    reader: TestClient, path: str, query: str
) -> None:
    response = reader.get(f"{path}?{query}")
    assert (response.status_code, response.json()["error"]["param"]) == (400, query.split("=")[0])


def test_experts_are_listed_page_by_page(reader: TestClient) -> None:
    first = reader.get("/v1/experts?limit=2").json()
    second = reader.get("/v1/experts", params={"limit": 2, "after": first["last_id"]}).json()
    assert [e["id"] for e in (*first["data"], *second["data"])] == list(EXPERTS)
    assert (first["has_more"], second["has_more"]) == (True, False)
    reverse = reader.get("/v1/experts?order=asc").json()["data"]
    assert [e["id"] for e in reverse] == list(reversed(EXPERTS))


def test_an_expert_that_is_paused_is_not_recruited_until_it_is_resumed(client: TestClient, app: App) -> None:
    """`org/beta` has a slash in its name."""
    paused = client.post("/v1/experts/org/beta/pause", json={"reason": "slow"}).json()
    assert paused["id"] == "org/beta"
    assert paused["paused"]["reason"] == "slow"
    assert client.get("/v1/experts/org/beta").json()["paused"] == paused["paused"]
    wait_for("routing heard of it", lambda: "org/beta" in app.catalogue._conditions().paused, within_s=30)
    assert recruits(chat(client, 30)) == {"alpha", "gamma"}
    resumed = client.post("/v1/experts/org/beta/resume")
    assert resumed.json()["paused"] is None
    wait_for("routing heard of it", lambda: not app.catalogue._conditions().paused, within_s=30)
    assert recruits(chat(client, 31)) == set(EXPERTS)


def test_an_expert_that_is_asked_by_name_while_it_is_paused_says_so(client: TestClient, app: App) -> None:
    client.post("/v1/experts/gamma/pause")
    wait_for("routing heard of it", lambda: "gamma" in app.catalogue._conditions().paused, within_s=30)
    error = chat(client, 32, "gamma")["error"]
    assert error["code"] == "no_capable_expert"  # type: ignore[index]
    assert "paused" in error["message"]  # type: ignore[index]


def test_a_pause_outlives_the_process(tmp_path: Path, app: App) -> None:
    app.pauses.pause("alpha", reason="")
    with open_app(load_settings(tmp_path / "pool.yaml")) as again:
        assert set(again.pauses.paused()) == {"alpha"}


def test_work_that_waits_for_a_paused_expert_is_done_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = "".join(f'{{"id": "q{i}", "question": "{question(i)}"}}\n' for i in range(4))
    with open_app(load_settings(write_pool(tmp_path))) as quiet, TestClient(create_app(quiet)) as client:
        headers = {"content-type": "application/jsonl"}
        job = client.post("/v1/jobs?composition=gamma", content=lines, headers=headers).json()
        advance_once(quiet)
        quiet.pauses.pause("gamma", reason="")
    with open_app(load_settings(tmp_path / "pool.yaml"), background=True) as app:
        chatty = app.jobs.job(job["id"])
        assert (chatty.n_assignments, chatty.n_responses) == (4, 0)
        with TestClient(create_app(app)) as client:
            chat(client, 40, "alpha")  # the loop serves others meanwhile
            assert app.jobs.job(job["id"]).n_responses == 0
            client.post("/v1/experts/gamma/resume")
        done = wait_for("the job", lambda: (p := app.jobs.job(job["id"])).state.is_over and p, within_s=60)
        assert (done.state, done.completed) == (JobState.DONE, 4)


@pytest.mark.parametrize(
    ("composition", "paused"), [("gamma", ("gamma",)), ("majority_all", EXPERTS)], ids=["named", "everybody"]
)
def test_lines_that_only_paused_experts_may_answer_wait_say_why_and_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, composition: str, paused: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(advancing, "PAUSED_S", 0.05)
    monkeypatch.setattr(resting, "LEAST_REST_S", 0.0)
    monkeypatch.setattr(resting.Patience, "pause_s", lambda *_: 0.05)
    lines = "".join(f'{{"id": "q{i}", "question": "{question(i)}"}}\n' for i in range(9))
    settings = load_settings(write_pool(tmp_path))
    with open_app(settings, background=True) as app, TestClient(create_app(app)) as client:
        for expert_id in paused:
            client.post(f"/v1/experts/{expert_id}/pause")
        wait_for("routing heard", lambda: app.catalogue._conditions().paused >= set(paused), within_s=30)
        wait_for("the board heard", lambda: set(app._own.paused.experts()) >= set(paused), within_s=30)
        headers = {"content-type": "application/jsonl"}
        path = f"/v1/jobs?composition={composition}"
        job = client.post(path, content=lines, headers=headers).json()["id"]

        def postponed() -> bool:
            wanted = "SELECT count(*) FROM query WHERE stepped_until IS NOT NULL"
            with app._database.read() as conn:
                return bool(conn.exec_driver_sql(wanted).scalar())

        wait_for("a line was tried", postponed, within_s=60)
        seen = client.get(f"/v1/jobs/{job}").json()
        assert (seen["state"], seen["counts"]["failed"], seen["counts"]["waiting"]) == ("running", 0, 9)
        for view in (seen, client.get(f"/v1/jobs/{job}/plan").json()):
            engines = {app.pool.engine_of[expert_id] for expert_id in paused}
            assert {engine["engine"] for engine in view["waits_for"]} == engines
            assert {engine["why"] for engine in view["waits_for"]} == {"its experts are paused"}
        model = composition if composition in EXPERTS else f"muster/{composition}"
        assert chat(client, 50, model)["error"]["code"] == "no_capable_expert"  # type: ignore[index]
        for expert_id in paused:
            client.post(f"/v1/experts/{expert_id}/resume")
        done = wait_for("the job", lambda: (p := app.jobs.job(job)).state.is_over and p, within_s=60)
        assert (done.state, done.completed, done.failed) == (JobState.DONE, 9, 0)
        assert client.get(f"/v1/jobs/{job}").json()["waits_for"] == []


def advance_once(app: App) -> None:
    """Put the job's calls on the books, and serve none."""
    from workers.leases.advancing import Advancer

    Advancer(
        jobs=app.store,
        steps=app.store,
        compositions=app.catalogue.build,
        engine_of={expert.id: expert.engine.id for expert in app.pool.experts},
        config_hash=app.config_hash,
    ).chunk()


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_nobody_pauses_whom_there_is_not(client: TestClient, verb: str) -> None:
    response = client.post(f"/v1/experts/nobody/{verb}")
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize(
    "body", ['{"why": "x"}', "[]", '{"reason": 3}', '{"reason": "' + "x" * 501 + '"}', "{"]
)
def test_a_pause_takes_a_reason_and_nothing_else(client: TestClient, body: str) -> None:
    headers = {"content-type": "application/json"}
    response = client.post("/v1/experts/alpha/pause", content=body, headers=headers)
    assert response.status_code in (400, 422)
    assert client.get("/v1/experts/alpha").json()["paused"] is None
