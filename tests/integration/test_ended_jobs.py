"""Jobs that have ended, by command line and over HTTP: what failed is run again, what is deleted is gone."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from api.cli.main import main
from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.ports.jobs import AnsweredQuery
from orchestrator.settings.load import load_settings
from orchestrator.store import reading
from tests.harness.live import live_client
from tests.harness.processes import ROOT
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import events, question, write_pool, write_questions

Captured = pytest.CaptureFixture[str]
JOBS = "/v1/jobs"
FAILS_ONCE = [{"match": question(2), "fail": "backend_error", "times": 1}]
HANGS = [{"match": question(3), "hang": True, "times": 1}]


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_pool(tmp_path, rules=FAILS_ONCE)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(write_pool(tmp_path, rules=[*FAILS_ONCE, *HANGS]))
    with open_app(settings, background=True) as app:
        yield app


@pytest.fixture
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


def run(pool: Path, *words: str) -> int:
    return main(["--config", str(pool), *words])


def run_json(pool: Path, capsys: Captured, *words: str, code: int = 0) -> dict[str, object]:
    capsys.readouterr()
    assert run(pool, *words, "--json") == code
    return dict(json.loads(capsys.readouterr().out))


def lines_of(path: Path) -> dict[str, dict[str, object]]:
    return {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}


def n_asked(folder: Path) -> int:
    return len(events(folder, "generation"))


# ── by command line ───────────────────────────────────────────────────────────────────────────────


def test_batch_retry_failed_answers_what_failed_and_asks_nothing_else_again(
    pool: Path, tmp_path: Path, capsys: Captured
) -> None:
    file = str(write_questions(tmp_path / "q.jsonl", range(5)))
    words = ("batch", file, "-c", "alpha", "-o", "a.jsonl")
    first = run_json(pool, capsys, *words, code=1)
    before, n_before = lines_of(tmp_path / "a.jsonl"), n_asked(tmp_path)
    assert (first["completed"], first["failed"]) == (4, 1)
    assert run_json(pool, capsys, *words, code=1) == first, "without the option nothing is tried again"
    assert lines_of(tmp_path / "a.jsonl") == before
    again = run_json(pool, capsys, *words, "--retry-failed")
    after = lines_of(tmp_path / "a.jsonl")
    assert (again["job_id"], again["completed"], again["failed"]) == (first["job_id"], 5, 0)
    assert n_asked(tmp_path) == n_before + 1
    assert list(after) == list(before)
    assert after["q2"]["error"] is None
    assert {i: row for i, row in after.items() if i != "q2"} == {
        i: row for i, row in before.items() if i != "q2"
    }
    shown = run_json(pool, capsys, "jobs", "show", str(first["job_id"]))
    assert (shown["retries"], shown["state"]) == (1, "done")


def test_a_batch_with_failures_says_why_and_how_to_run_them_again(
    pool: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["batch", str(write_questions(tmp_path / "q.jsonl", range(5))), "-c", "alpha", "-o", "a.jsonl"]
    monkeypatch.setattr(sys, "argv", ["/x/bin/muster", *words])
    assert run(pool, *words) == 1
    said = capsys.readouterr().err
    assert "1 failed with no_answer, such as q2: " in said
    assert f"Run what failed again: muster batch --retry-failed {' '.join(words[1:])}\n" in said
    assert run(pool, *words, "--retry-failed") == 0
    assert "failed with" not in capsys.readouterr().err


def test_a_job_that_is_shown_says_why_questions_failed(pool: Path, tmp_path: Path, capsys: Captured) -> None:
    file = str(write_questions(tmp_path / "q.jsonl", range(3)))
    job_id = str(run_json(pool, capsys, "batch", file, "-c", "alpha", code=1)["job_id"])
    assert run(pool, "jobs", "show", job_id) == 0
    shown = capsys.readouterr().out
    assert "1 failed with no_answer, such as q2: " in shown
    assert f"Run what failed again: muster jobs retry {job_id}" in shown
    assert run(pool, "jobs", "retry", job_id) == 0
    assert "failed with" not in capsys.readouterr().out


def test_batch_retry_failed_of_a_file_that_was_never_run_runs_it(
    pool: Path, tmp_path: Path, capsys: Captured
) -> None:
    file = str(write_questions(tmp_path / "q.jsonl", [7]))
    summary = run_json(pool, capsys, "batch", file, "-c", "alpha", "--retry-failed")
    assert summary["completed"] == 1


def test_jobs_retry_does_the_work_and_says_what_became_of_it(
    pool: Path, tmp_path: Path, capsys: Captured
) -> None:
    file = str(write_questions(tmp_path / "q.jsonl", range(3)))
    job_id = str(run_json(pool, capsys, "batch", file, "-c", "alpha", code=1)["job_id"])
    view = run_json(pool, capsys, "jobs", "retry", job_id, "--failed-only")
    assert view["counts"] == {"total": 3, "completed": 3, "failed": 0, "waiting": 0}
    assert view["retries"] == 1
    again = run_json(pool, capsys, "jobs", "retry", job_id)
    assert again["retries"] == 1, "nothing to run again"
    assert run_json(pool, capsys, "jobs", "retry", "nobody", code=1)["error"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_retry_that_was_interrupted_is_finished_by_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, number: signal.Signals
) -> None:
    """All three fail once; then one hangs once, and there the retry is interrupted."""
    monkeypatch.chdir(tmp_path)
    all_fail = {"regex": ".", "fail": "backend_error", "times": 3}
    pool = write_pool(tmp_path, rules=[all_fail, {"match": question(1), "hang": True, "times": 1}])
    words = ("batch", str(write_questions(tmp_path / "q.jsonl", range(3))), "-c", "alpha", "-o", "a.jsonl")
    job_id = str(run_json(pool, capsys, *words, code=1)["job_id"])
    program = [sys.executable, "-m", "api.cli.main", "--config", str(pool), "jobs", "retry", job_id]
    process = subprocess.Popen(
        program,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        # A suite started in the background ignores SIGINT, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for("one hangs", lambda: len(events(tmp_path, "rule")) == 4, within_s=60)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    if number is signal.SIGINT:
        assert process.returncode == 130
        assert b"Interrupted" in said
    again = run_json(pool, capsys, *words)
    assert (again["job_id"], again["completed"]) == (job_id, 3)
    assert run_json(pool, capsys, "jobs", "show", job_id)["retries"] == 1


def test_degraded_answers_are_run_again_on_demand(pool: Path, tmp_path: Path, capsys: Captured) -> None:
    file = str(write_questions(tmp_path / "q.jsonl", range(3)))
    words = ("batch", file, "-c", "majority_all", "-o", "a.jsonl")
    job_id = str(run_json(pool, capsys, *words)["job_id"])
    assert lines_of(tmp_path / "a.jsonl")["q2"]["muster"]["degraded"]
    n_before = n_asked(tmp_path)
    assert run_json(pool, capsys, "jobs", "retry", job_id)["retries"] == 0
    assert run_json(pool, capsys, "jobs", "retry", job_id, "--and-degraded")["retries"] == 1
    assert run_json(pool, capsys, *words)["completed"] == 3
    assert not lines_of(tmp_path / "a.jsonl")["q2"]["muster"]["degraded"]
    assert n_asked(tmp_path) == n_before + 3


def test_a_deleted_job_leaves_nothing_in_the_folder_of_the_data(
    pool: Path, tmp_path: Path, capsys: Captured
) -> None:
    file = tmp_path / "secret-name.jsonl"
    file.write_text(json.dumps({"id": "xylophone-id", "question": "Is the xylophone blue?"}) + "\n")
    job_id = str(run_json(pool, capsys, "batch", str(file), "-c", "alpha")["job_id"])
    assert run(pool, "feedback", job_id, "--right") in (0, 2)
    assert _shows(tmp_path / "data", b"xylophone")
    assert run_json(pool, capsys, "jobs", "delete", job_id) == {"id": job_id, "deleted": True}
    run_json(pool, capsys, "vacuum")
    assert not _shows(tmp_path / "data", b"xylophone")
    assert not _shows(tmp_path / "data", b"secret-name")
    assert run(pool, "jobs", "show", job_id) == 1
    assert run_json(pool, capsys, "batch", str(file), "-c", "alpha")["completed"] == 1, "it may come again"


def test_vacuum_deletes_questions_that_were_kept_for_long_enough(
    pool: Path, tmp_path: Path, capsys: Captured
) -> None:
    run_json(pool, capsys, "ask", question(1), "-c", "alpha")
    file = str(write_questions(tmp_path / "q.jsonl", [1]))
    run_json(pool, capsys, "batch", file, "-c", "alpha")
    assert run_json(pool, capsys, "vacuum") == {"deleted": 0}
    with sqlite3.connect(tmp_path / "data" / "muster.sqlite3") as conn:
        conn.execute("UPDATE job SET finished_at = finished_at - 31 * 86400")
    conn.close()
    assert run_json(pool, capsys, "vacuum") == {"deleted": 1}
    capsys.readouterr()
    assert run(pool, "jobs", "list", "--json") == 0
    assert [job["kind"] for job in json.loads(capsys.readouterr().out)] == ["batch"]


def test_the_outbox_of_one_process_does_not_grow(pool: Path, tmp_path: Path, capsys: Captured) -> None:
    for number in (1, 4):
        run_json(pool, capsys, "ask", question(number), "-c", "alpha")
    with sqlite3.connect(tmp_path / "data" / "muster.sqlite3") as conn:
        assert conn.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
    conn.close()


def _shows(folder: Path, text: bytes) -> bool:
    return any(text in path.read_bytes() for path in folder.rglob("*") if path.is_file())


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────────


def submit(client: TestClient, *numbers: int, key: str = "") -> str:
    content = "\n".join(json.dumps({"id": f"q{n}", "question": question(n)}) for n in numbers)
    headers = {"content-type": "application/jsonl"} | ({"idempotency-key": key} if key else {})
    reply = client.post(f"{JOBS}?composition=alpha", content=content, headers=headers)
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


def test_a_job_is_retried_over_http_and_counts_it(client: TestClient, app: App) -> None:
    job_id = submit(client, 1, 2)
    assert app.jobs.run(job_id).failed == 1
    accepted = client.post(f"{JOBS}/{job_id}/retry")
    assert (accepted.status_code, accepted.json()["retries"]) == (202, 1)
    assert app.jobs.run(job_id).failed == 0
    errors = [json.loads(line)["error"] for line in client.get(f"{JOBS}/{job_id}/answers").text.splitlines()]
    assert errors == [None, None]
    same = client.post(f"{JOBS}/{job_id}/retry")
    assert (same.status_code, same.json()["retries"], same.json()["state"]) == (202, 1, "done")


def test_a_running_job_is_409_for_retry_and_delete_until_it_is_cancelled(
    client: TestClient, app: App, tmp_path: Path
) -> None:
    job_id = submit(client, 1, 3)
    wait_for("the engine hangs", lambda: events(tmp_path, "rule"), within_s=30)
    for refused in (client.post(f"{JOBS}/{job_id}/retry"), client.delete(f"{JOBS}/{job_id}")):
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "job_running")
        assert refused.headers["x-should-retry"] == "false"
    client.post(f"{JOBS}/{job_id}/cancel")
    assert client.post(f"{JOBS}/{job_id}/retry").json()["state"] == "running"
    assert app.jobs.run(job_id).completed == 2, "the engine hangs once only"


def test_a_deleted_job_is_404_and_its_key_is_free(client: TestClient, app: App) -> None:
    job_id = submit(client, 1, key="again")
    app.jobs.run(job_id)
    gone = client.delete(f"{JOBS}/{job_id}")
    assert (gone.status_code, gone.json()) == (
        200,
        {"id": job_id, "object": "muster.job", "deleted": True},
    )
    for path in ("", "/answers", "/events", "/plan"):
        assert client.get(f"{JOBS}/{job_id}{path}").status_code == 404
    assert client.delete(f"{JOBS}/{job_id}").status_code == 404
    assert client.post(f"{JOBS}/{job_id}/retry").status_code == 404
    assert submit(client, 4, key="again") == job_id, "with other content"


def test_answers_of_a_job_that_is_deleted_meanwhile_do_not_come_as_if_they_were_all(
    client: TestClient, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends without the mark of a whole response."""
    job_id = submit(client, 4, 5, 6)
    app.jobs.run(job_id)
    answers_of = app.jobs.answers

    def deleting(name: str) -> Iterator[AnsweredQuery]:
        answers = answers_of(name)
        yield next(answers)
        app.ended.delete(name)
        yield from answers

    monkeypatch.setattr(reading, "PAGE", 1)
    monkeypatch.setattr(app.jobs, "answers", deleting)
    with live_client(app) as live, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{live.base_url}jobs/{job_id}/answers")


@pytest.mark.parametrize("query", ["failed_only=perhaps", "deadline_s=0", "deadline_s=nan", "unknown=1"])
def test_bad_options_of_a_retry_are_refused(client: TestClient, query: str) -> None:
    assert client.post(f"{JOBS}/{submit(client, 1)}/retry?{query}").status_code == 400
