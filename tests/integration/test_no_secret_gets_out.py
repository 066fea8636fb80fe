"""Secrets in every setting, and every command: none is in what is printed, logged or left in files."""

import json
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
import yaml

from tests.fakes.bad_server import BadServer, refuses
from tests.harness.processes import ROOT, Process
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import write_pool

SCRIPT = """
import json, sys
from api.cli.main import main
for command in json.loads(sys.argv[1]):
    print(command, main(command), flush=True)
"""
COMMANDS = (
    ["config", "check"],
    ["--json", "config", "check"],
    ["--debug", "doctor"],
    ["--json", "doctor"],
    ["doctor", "--fleet"],
    ["--debug", "experts"],
    ["cards"],
    ["plan"],
    ["--debug", "jobs", "list"],
    ["--json", "jobs", "show", "none"],
    ["--debug", "ask", "What is 2 plus 2?", "-c", "alpha"],
    ["--debug", "ask", "What is 2 plus 2?", "-c", "elsewhere"],
    ["--debug", "--json", "route", "What is 2 plus 2?"],
    ["--debug", "worker"],
    ["--debug", "beat"],
    ["--debug", "serve", "--port", "0", "--profile", "none.jsonl"],
)
MARK = "pl4nted"
"""Part of every secret below."""


def secret(name: str) -> str:
    return f"{MARK}-{name}-8c2e"


def planted_pool(folder: Path) -> Path:
    path = write_pool(folder, migrated=False)
    config = yaml.safe_load(path.read_text())
    config["model_list"].append(
        {
            "model_name": "elsewhere",
            "litellm_params": {
                "model": "m",
                "api_base": "http://127.0.0.1:9/v1",
                "api_key": secret("key"),
                "aws_secret_access_key": secret("aws"),
                "extra_headers": {"Authorization": f"Bearer {secret('header')}"},
            },
            "model_info": {"muster": {"engine": "server", "options": {"connect_timeout_s": 1}}},
        }
    )
    config["environment_variables"] = {"OPENAI_API_KEY": secret("variable")}
    config["router_settings"] = {"redis_password": secret("redis"), "num_retries": 0}
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


def run(folder: Path, pool: Path, variables: Mapping[str, str]) -> str:
    """What all commands print, on both streams."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HOME": str(folder),
        "MUSTER_CONFIG": str(pool),
        "OPENAI_API_KEY": secret("environment"),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(COMMANDS)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"MUSTER_DATABASE_URL": f"postgresql://u:{secret('database')}@127.0.0.1:9/d"},
        {"MUSTER_DATABASE_URL": f"postgresql:/u:{secret('slash')}@127.0.0.1:9/d"},
        {"MUSTER_DATABASE_URL": f"postgresql://u:{secret('port')}@127.0.0.1:port/d"},
        {"MUSTER_DATABASE_URL": f"mysql://u:{secret('kind')}@127.0.0.1/d"},
        {
            "MUSTER_BROKER_URL": f"redis://:{secret('broker')}@127.0.0.1:9/0",
            "MUSTER_DATABASE_URL": f"postgresql://u:{secret('both')}@127.0.0.1:9/d?password={secret('query')}",
        },
        {"MUSTER_BROKER_URL": f"kafka://:{secret('scheme')}@127.0.0.1:9/0"},
        {"MUSTER_BROKER_URL": f"redis://:{secret('broken')}@127.0.0.1:nine/0"},
        {
            "MUSTER_SEED": secret("seed"),
            "MUSTER_API_KEY": secret("protects"),
            "MUSTER_TOKENN": secret("typo"),
        },
    ],
    ids=lambda variables: ",".join(variables) or "file",
)
def test_no_command_shows_a_secret(tmp_path: Path, variables: Mapping[str, str]) -> None:
    said = run(tmp_path, planted_pool(tmp_path), variables)
    assert said.count("['") >= len(COMMANDS) - 1
    assert [line for line in said.splitlines() if MARK in line] == []
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "pool.yaml":
            assert MARK.encode() not in path.read_bytes(), path


def test_a_server_shows_no_secret_of_its_own_or_of_its_callers(tmp_path: Path) -> None:
    """Failing calls, odd paths and headers, and an endpoint that quotes the key it was sent."""
    refusal = refuses(401, f"wrong key {secret('key')}, said Bearer {secret('key')}")
    quoting = BadServer(refusal, models=("m",))
    with quoting as endpoint:
        pool = planted_pool(tmp_path)
        pool.write_text(pool.read_text().replace("http://127.0.0.1:9/v1", endpoint.url))
        words = ["--debug", "serve", "--port", "0"]
        log = tmp_path / "serve.log"
        server = Process(
            "serve",
            [sys.executable, "-m", "api.cli.main", *words],
            env={"PYTHONPATH": str(ROOT), "MUSTER_CONFIG": str(pool)},
            log=log,
            cwd=tmp_path,
            ready="Muster listens",
        ).start()
        try:
            wait_for("it listens", lambda: "Muster listens" in log.read_text(), within_s=120)
            url = re.search(r"http://[\d.:]+", log.read_text())
            assert url is not None
            mine = {"authorization": f"Bearer {secret('caller')}", "x-api-key": secret("caller")}
            body = {"model": "elsewhere", "messages": [{"role": "user", "content": "2 + 2?"}]}
            with httpx.Client(base_url=url[0], headers=mine, timeout=60) as client:
                said = client.post("/v1/chat/completions", json=body).text
                assert "[api_key]" in said
                said += client.get(f"/v1/models?api_key={secret('query')}").text
                said += client.get("/health/ready").text + client.get("/v1/experts").text
                client.get(f"/nowhere?key={secret('query')}&access_token={secret('query')}")
                client.post("/v1/chat/completions", content=b"{")
        finally:
            server.stop()
    assert MARK not in said
    assert [line for line in log.read_text().splitlines() if MARK in line] == []


def test_everything_in_the_data_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    run(tmp_path, planted_pool(tmp_path), {})
    data = tmp_path / "data"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (data, *data.rglob("*"))}
    assert len(modes) > 1
    assert [path for path, mode in modes.items() if mode & 0o077] == []
