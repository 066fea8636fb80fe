"""`/v1/profiles` over scripted experts: runs are started, followed, cancelled, one at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.profile_runs import ProfileRun, RunState
from orchestrator.settings.load import load_settings
from orchestrator.store import SqlProfileRuns
from orchestrator.store.sum_tables import profile_run
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import EXPERTS, write_pool, write_questions

PATH = "/v1/profiles"
JSONL = {"content-type": "application/jsonl"}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    with open_app(load_settings(write_pool(tmp_path, delay_s=0.02)), background=True) as app:
        yield app


@pytest.fixture
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


def lines(folder: Path, n: int) -> bytes:
    return write_questions(folder / "known.jsonl", range(n)).read_bytes()


def ended(client: TestClient, run_id: str) -> dict[str, object]:
    def look() -> dict[str, object] | None:
        run: dict[str, object] = client.get(f"{PATH}/{run_id}").json()
        return run if run["state"] not in ("running", "cancelling") else None

    return wait_for("the end", look, within_s=90)


def test_a_run_measures_the_pool(client: TestClient, app: App, tmp_path: Path) -> None:
    started = client.post(PATH, content=lines(tmp_path, 8), headers=JSONL, params={"exam": False})
    assert started.status_code == 202
    run = started.json()
    assert started.headers["location"] == f"{PATH}/{run['id']}"
    assert (run["state"], run["questions"]) == ("running", 8)
    done = ended(client, run["id"])
    assert (done["state"], done["asked"], done["profiled"]) == ("completed", 8 * len(EXPERTS), len(EXPERTS))
    assert client.get("/v1/experts/alpha/card").json()["total"]["n_right"] > 0
    again = client.post(PATH, content=lines(tmp_path, 8), headers=JSONL, params={"exam": False}).json()
    assert ended(client, again["id"])["reused"] == 8 * len(EXPERTS)
    assert [r["id"] for r in client.get(PATH).json()["data"]] == [again["id"], run["id"]]


def test_one_run_at_a_time_and_a_run_that_is_cancelled_ends(client: TestClient, tmp_path: Path) -> None:
    first = client.post(PATH, content=lines(tmp_path, 150), headers=JSONL, params={"exam": False}).json()
    second = client.post(PATH, content=lines(tmp_path, 3), headers=JSONL)
    assert (second.status_code, second.json()["error"]["code"]) == (409, "profile_running")
    assert client.post(f"{PATH}/{first['id']}/cancel").json()["state"] in ("cancelling", "cancelled")
    assert ended(client, first["id"])["state"] == "cancelled"
    assert client.post(f"{PATH}/{first['id']}/cancel").json()["state"] == "cancelled"
    third = client.post(PATH, content=lines(tmp_path, 3), headers=JSONL, params={"experts": ["gamma"]})
    assert third.status_code == 202
    assert ended(client, third.json()["id"])["state"] == "completed"


@pytest.mark.parametrize(
    ("content", "params", "param"),
    [
        (b"", {}, "questions"),
        (b'{"question": "What?"}\n', {}, "questions"),
        (b"{", {}, None),
        (b'{"question": "1 + 1?", "answer": "2"}\n', {"experts": ["nobody"]}, "expert"),
        (b'{"question": "1 + 1?", "answer": "2"}\n', {"exam": "perhaps"}, "exam"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    client: TestClient, content: bytes, params: dict[str, object], param: str | None
) -> None:
    response = client.post(PATH, content=content, headers=JSONL if content else {}, params=params)
    assert 400 <= response.status_code < 500
    if param is not None:
        assert response.json()["error"]["param"] == param
    assert client.get(PATH).json()["data"] == []


def test_other_media_types_are_refused(client: TestClient) -> None:
    response = client.post(PATH, content=b"x", headers={"content-type": "text/plain"})
    assert response.status_code == 415


def test_a_run_whose_process_is_gone_is_interrupted_and_the_next_one_may_begin(app: App) -> None:
    runs = SqlProfileRuns(app._database)
    assert runs.add(ProfileRun(id="lost", n_questions=1, created_at=1.0))
    assert not runs.add(ProfileRun(id="next", n_questions=1, created_at=2.0))
    app._database.transact(lambda conn: conn.execute(profile_run.update().values(seen_at=1.0)))
    assert runs.run("lost").state is RunState.INTERRUPTED
    assert runs.add(ProfileRun(id="next", n_questions=1, created_at=2.0))
