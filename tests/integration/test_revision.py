"""A server whose database somebody migrated: it says so, takes no work, and goes on when that is undone."""

import json
import sqlite3
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.cli.main import main
from api.main import create_app
from orchestrator.bootstrap.app import open_app
from orchestrator.settings.load import load_settings
from orchestrator.store.migrations import HEAD
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import question, write_pool

LINE = json.dumps({"id": "q", "question": question(1)})
JSONL = {"content-type": "application/jsonl"}


def migrate(folder: Path, revision: str) -> None:
    conn = sqlite3.connect(folder / "data" / "muster.sqlite3")
    with conn:
        conn.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    conn.close()


def schema(client: TestClient) -> dict[str, object]:
    """The check of that name; with the status of the reply."""
    reply = client.get("/health/ready")
    [check] = [check for check in reply.json()["checks"] if check["check"] == "schema"]
    return {**check, "status": reply.status_code}


def test_a_migrated_database_stops_a_server_until_the_schema_fits_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(write_pool(tmp_path))
    url = "/v1/jobs?composition=alpha"
    with (
        open_app(settings, background=True) as app,
        TestClient(create_app(app), raise_server_exceptions=False) as client,
    ):
        assert schema(client)["ok"]
        waiting = client.post(url, content=LINE, headers=JSONL).json()["id"]
        app.jobs.run(waiting)
        migrate(tmp_path, "9999")
        wait_for("health says so", lambda: not schema(client)["ok"], within_s=30, every_s=0.2)
        found = schema(client)
        assert (found["status"], found["required"]) == (503, True)
        assert "revision 9999" in str(found["detail"])
        assert "Restart this process" in str(found["detail"])
        refused = client.post(url, content=LINE, headers=JSONL)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "schema_changed")
        assert refused.headers["retry-after"] == "30"
        assert client.get(f"/v1/jobs/{waiting}/answers").status_code == 200, "looking goes on"
        migrate(tmp_path, HEAD)
        wait_for("it fits again", lambda: schema(client)["ok"], within_s=30, every_s=0.2)
        job_id = client.post(url, content=LINE, headers=JSONL).json()["id"]
        assert app.jobs.run(job_id).completed == 1


def test_doctor_says_that_the_database_is_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pool = str(write_pool(tmp_path))
    main(["--config", pool, "doctor", "--json"])
    assert "schema" in capsys.readouterr().out
    migrate(tmp_path, "9999")
    assert main(["--config", pool, "doctor", "--json"]) != 0
    assert "Upgrade Muster" in capsys.readouterr().out
