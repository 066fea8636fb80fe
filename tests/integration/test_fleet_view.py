"""`/v1/system` and `muster doctor --fleet`: processes of one database as they tell of themselves."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.cli.main import main
from api.main import create_app
from orchestrator.bootstrap.app import open_app
from orchestrator.domain.fleet import WeightsRecord
from orchestrator.domain.keys import KeyTerms, Scope
from orchestrator.settings.load import load_settings
from tests.integration.scripted_pool import EXPERTS, write_pool


def doctor(capsys: pytest.CaptureFixture[str], config: Path, *, code: int) -> Any:
    capsys.readouterr()
    assert main(["--config", str(config), "doctor", "--fleet", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def failed(view: Any) -> dict[str, str]:
    return {check["check"]: check["detail"] for check in view["checks"] if not check["ok"]}


def test_a_process_that_does_all_is_a_fleet_that_is_well_until_it_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = write_pool(tmp_path)
    with open_app(load_settings(config), background=True) as app:
        app.asking  # noqa: B018 -- it runs
        with TestClient(create_app(app)) as client:
            seen = client.get("/v1/system").json()
        [host] = seen["hosts"]
        [process] = host["processes"]
        assert (process["role"], process["device"], process["config_hash"]) == (
            "api",
            "auto",
            app.config_hash,
        )
        assert {engine["engine"] for engine in process["engines"]} == {Path(name).name for name in EXPERTS}
        assert abs(process["clock"]["offset_s"]) < 2 + process["clock"]["error_s"]
        assert failed(seen).keys() <= {"engines"}, "its device may not have reported yet"
    left = doctor(capsys, config, code=1)
    assert left["hosts"] == []
    assert failed(left)["hosts"] == "nobody was heard of"


def test_only_an_admin_sees_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_app(load_settings(write_pool(tmp_path))) as app, TestClient(create_app(app)) as client:
        secrets = {
            scope: app.keys.create(KeyTerms(scopes=(scope,)))[1]
            for scope in (Scope.ASK, Scope.BATCH, Scope.ADMIN)
        }
        got = {
            scope: client.get("/v1/system", headers={"authorization": f"Bearer {secret}"}).status_code
            for scope, secret in secrets.items()
        }
        assert got == {Scope.ASK: 403, Scope.BATCH: 403, Scope.ADMIN: 200}
        assert client.get("/v1/system").status_code == 401


def test_people_are_shown_tables_and_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--config", str(write_pool(tmp_path)), "doctor", "--fleet"]) == 1
    out = capsys.readouterr().out
    assert "nobody was heard of" in out
    assert "muster serve" in out


def test_recorded_weights_are_forgotten_by_the_name_of_their_expert_or_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = write_pool(tmp_path)
    with open_app(load_settings(config)) as app:
        for one in app.fleet.weights():
            app.fleet.store.record_weights(one.key, WeightsRecord(host="one", files=()))

    def forgotten(name: str, *, code: int = 0) -> Any:
        capsys.readouterr()
        assert main(["--config", str(config), "--json", "models", "forget", name]) == code
        return json.loads(capsys.readouterr().out)

    assert forgotten("org/beta") == {"name": "org/beta", "forgotten": 1}
    assert forgotten("beta") == {"name": "beta", "forgotten": 0}, "its engine's name"
    assert forgotten("gamma")["forgotten"] == 1
    assert forgotten("nobody", code=2)["error"]["code"] == "unknown_name"


def test_a_folder_of_weights_beside_a_pool_file_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = str(write_pool(tmp_path))
    assert main(["--config", config, "worker", "--device", "cpu", "--models-dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "--models-dir is for a worker without a pool file" in said[0]


@pytest.mark.parametrize(
    "command", [("worker",), ("worker", "--device", "cpu"), ("beat",), ("doctor", "--fleet")]
)
def test_without_a_pool_file_and_addresses_it_says_what_is_missing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MUSTER_CONFIG", "MUSTER_DATABASE_URL", "MUSTER_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main([*command]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "MUSTER_DATABASE_URL and MUSTER_BROKER_URL are not set" in said[0]
