"""`/v1/usage` and `muster usage` over scripted experts."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from api.cli.main import app as cli
from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings
from tests.integration.scripted_pool import EXPERTS, question, write_pool, write_questions


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    with open_app(load_settings(write_pool(tmp_path)), background=True) as app:
        app.profiling.run(read_questions(write_questions(tmp_path / "known.jsonl", range(10))), exam=False)
        yield app


@pytest.fixture
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


def ask(client: TestClient, number: int) -> dict[str, object]:
    options = [str(2 * number + more) for more in range(3)]
    messages = [{"role": "user", "content": question(number)}]
    body = {"model": "muster/majority_all", "messages": messages, "muster": {"options": options}}
    answer: dict[str, object] = client.post("/v1/chat/completions", json=body).json()
    return answer


def test_usage_is_what_the_answers_said(client: TestClient) -> None:
    used = [ask(client, number)["usage"] for number in (30, 31)]
    rows = client.get("/v1/usage?group_by=model,role").json()["data"]
    asked = {row["model"]: row for row in rows if row["role"] == "question"}
    assert asked["muster/majority_all"]["questions"] == 2
    total = client.get("/v1/usage").json()["total"]
    answered = [row for row in rows if row["role"] == "expert"]
    assert {row["model"] for row in answered} == set(EXPERTS)
    profiled = 10 * len(EXPERTS)
    assert total["calls"] == profiled + 2 * len(EXPERTS)
    tokens = sum(u["completion_tokens"] for u in used)  # type: ignore[index]
    assert 0 < tokens < total["output_tokens"]
    assert total["questions"] == 2
    assert total["best_single"]["expert"] in EXPERTS
    assert total["engine_seconds"] > 0


def test_questions_that_are_asked_in_batches_count_as_lines(
    client: TestClient, app: App, tmp_path: Path
) -> None:
    lines = write_questions(tmp_path / "lines.jsonl", range(40, 44)).read_bytes()
    headers = {"content-type": "application/jsonl"}
    job = client.post("/v1/jobs?composition=majority_all", content=lines, headers=headers).json()
    app.jobs.run(job["id"])
    rows = client.get("/v1/usage", params={"group_by": "role"}).json()["data"]
    assert {row["role"]: row["questions"] for row in rows}["line"] == 4


@pytest.mark.parametrize(
    "query", ["from=yesterday", "to=2026-02-30", "group_by=owner", "from=2000-01-01", "group_by=key%00"]
)
def test_bad_queries_name_their_parameter(client: TestClient, query: str) -> None:
    response = client.get(f"/v1/usage?{query}")
    assert response.status_code in (400, 422)
    assert response.json()["error"]["param"] == query.split("=")[0]


def test_the_command_shows_the_same(client: TestClient, app: App, tmp_path: Path) -> None:
    ask(client, 32)
    shown = client.get("/v1/usage?group_by=model,role").json()
    ran = CliRunner().invoke(cli, ["--config", str(tmp_path / "pool.yaml"), "--json", "usage"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout) == shown
    table = CliRunner().invoke(cli, ["--config", str(tmp_path / "pool.yaml"), "usage", "--by", "day"])
    assert "the best single expert" in table.stdout
