"""The API process of the stack: it drives no device and embeds nothing."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.errors import StoreUnavailableError
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings
from tests.integration.scripted_pool import EXPERTS, write_pool, write_questions

ROOT = Path(__file__).parents[2]
NO_BROKER = "redis://127.0.0.1:1/0"

HEAVY = """
import sys
from pathlib import Path
from fastapi.testclient import TestClient
from api.main import create_app
from orchestrator.bootstrap.app import open_app
from orchestrator.settings.load import load_settings

with open_app(load_settings(Path("pool.yaml")), background=True) as app:
    with TestClient(create_app(app)) as client:
        client.get("/v1/models").raise_for_status()
        client.get("/v1/experts").raise_for_status()
        client.get("/health/ready")
        jsonl = {"content-type": "application/jsonl"}
        accepted = client.post("/v1/jobs", content=b'{"question": "1 + 1?"}', headers=jsonl)
        assert accepted.status_code == 202, accepted.text
heavy = {"torch", "transformers", "sentence_transformers", "sklearn", "vllm", "litellm"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_BROKER_URL", NO_BROKER)
    with open_app(load_settings(write_pool(tmp_path)), background=True) as app:
        yield app


def test_the_api_of_the_stack_imports_no_model_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pool(tmp_path)
    config = (tmp_path / "pool.yaml").read_text().replace("model: hash", "model: minilm")
    (tmp_path / "pool.yaml").write_text(config)
    monkeypatch.setenv("MUSTER_BROKER_URL", NO_BROKER)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = subprocess.run([sys.executable, "-c", HEAVY], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_its_broker_a_job_is_accepted_and_health_says_degraded(app: App) -> None:
    client = TestClient(create_app(app))
    lines = b'{"question": "What is 1 plus 1?"}'
    accepted = client.post("/v1/jobs", content=lines, headers={"content-type": "application/jsonl"})
    assert accepted.status_code == 202
    assert [bell.job_id for bell in app.store.outbox(10)] == [accepted.json()["id"]]
    body = client.get("/health/ready").json()
    failed = {check["check"] for check in body["checks"] if not check["ok"]}
    assert (body["degraded"], "broker" in failed) == (True, True)


def test_a_question_nobody_works_on_ends_in_504_and_a_cancelled_job(app: App) -> None:
    body = {
        "model": "alpha",
        "messages": [{"role": "user", "content": "Anyone?"}],
        "muster": {"timeout_s": 0.2},
    }
    response = TestClient(create_app(app)).post("/v1/chat/completions", json=body)
    assert response.status_code == 504
    assert app.jobs.job(response.headers["x-muster-decision-id"]).state.value == "cancelled"


def test_a_database_that_is_away_is_503_with_retry_after(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailableError("the database cannot be used now.")

    for method in ("submit", "job", "jobs", "cancel"):
        monkeypatch.setattr(app.store, method, away)
    monkeypatch.setattr(app.pages, "job_page", away)
    client = TestClient(create_app(app), raise_server_exceptions=False)
    jsonl = {"content-type": "application/jsonl"}
    responses = [
        client.post("/v1/jobs", content=b'{"question": "x"}', headers=jsonl),
        client.get("/v1/jobs"),
        client.get("/v1/jobs/some"),
        client.post("/v1/jobs/some/cancel"),
        client.get("/v1/jobs/some/events"),
        client.get("/v1/jobs/some/answers"),
    ]
    assert [response.status_code for response in responses] == [503] * len(responses)
    assert all(response.headers["retry-after"] for response in responses)
    assert client.get("/health/live").status_code == 200


def test_a_worker_learns_of_cards_that_another_process_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("orchestrator.compositions.catalogue.REFRESH_S", 0.0)
    settings = load_settings(write_pool(tmp_path))
    with open_app(settings) as worker, open_app(settings) as other:
        assert worker.catalogue.knowledge.cards == {}
        worker.catalogue.refresh()
        assert worker.catalogue.knowledge.cards == {}
        other.profiling.run(read_questions(write_questions(tmp_path / "known.jsonl", range(10))), exam=False)
        assert worker.catalogue.knowledge.cards == {}
        worker.catalogue.refresh()
        assert set(worker.catalogue.knowledge.cards) == set(EXPERTS)
