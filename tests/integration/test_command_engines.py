"""Pools whose engines a command starts: batches, crashes, Muster behind Muster, and what is left: nothing."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.bootstrap.app import open_app
from orchestrator.domain.assignments import JobProgress
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.settings.load import load_settings
from tests.harness.processes import ROOT
from tests.unit.workers.backends.command.commands import await_end_of, command, tagged
from workers.checkpoints.identity import weights_hash

NAMES = ("ada", "ben", "cyd")


@pytest.fixture
def tag(tmp_path: Path) -> Iterator[str]:
    yield tmp_path.name
    await_end_of(tmp_path.name)


def write(folder: Path, members: Mapping[str, Mapping[str, Any]], **muster: Any) -> Path:
    """A pool file; `members`: options of their engines."""
    rows = [
        {
            "model_name": name,
            "litellm_params": {"model": f"weights/{name}"},
            "model_info": {"muster": {"engine": "command", "prompt": "plain", "options": dict(options)}},
        }
        for name, options in members.items()
    ]
    section = {"data_dir": str(folder / "data"), "embedder": {"model": "hash"}, **muster}
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump({"model_list": rows, "muster": section}))
    return path


def options(tag: str, *act: str, **more: Any) -> dict[str, Any]:
    return {"command": command(tag, *act), "health": "/health", **more}


def run(path: Path, n: int, *, model: str) -> JobProgress:
    with open_app(load_settings(path)) as app:
        queries = [Query(id=f"q{number}", question=f"question {number}") for number in range(n)]
        job_id = app.jobs.submit(queries, AskOptions(model=model, job_id="job"))
        progress = app.jobs.run(job_id)
        for item in app.jobs.answers(job_id):
            assert item.answer is not None
            assert item.query.question in (item.answer.text or ""), item
        return progress


def test_each_server_is_started_once_for_all_waiting_work_and_none_is_left(tag: str, tmp_path: Path) -> None:
    path = write(tmp_path, {name: options(tag) for name in NAMES})
    progress = run(path, 30, model="majority_all")
    assert (progress.completed, progress.failed) == (30, 0)
    assert progress.n_responses == 90
    assert progress.n_loads == len(NAMES)
    assert tagged(tag) == []


def test_servers_that_die_again_and_again_cost_their_work_time_and_nothing_else(
    tag: str, tmp_path: Path
) -> None:
    """Each start writes its first token, then five answers, and dies under the next."""
    path = write(tmp_path, {"ada": options(tag, "dies-later", "6", concurrent=1)})
    progress = run(path, 12, model="ada")
    assert (progress.completed, progress.failed) == (12, 0)
    assert progress.n_loads >= 3


def test_server_that_cannot_start_fails_its_own_work_and_no_others(tag: str, tmp_path: Path) -> None:
    script = tmp_path / "start.sh"
    script.write_text("#!/bin/sh\necho no licence\nexit 126\n")
    script.chmod(0o755)
    broken = {"command": f"{shlex.quote(str(script))} {{port}}"}
    path = write(tmp_path, {"ada": options(tag), "ben": broken})
    with open_app(load_settings(path)) as app:
        queries = [Query(id=f"q{number}", question=f"question {number}") for number in range(4)]
        job_id = app.jobs.submit(queries, AskOptions(model="ben", job_id="job"))
        assert app.jobs.run(job_id).failed == 4
        errors = {item.answer.error for item in app.jobs.answers(job_id) if item.answer is not None}
        assert all("no licence" in str(error) for error in errors), errors
        other = app.jobs.submit(queries, AskOptions(model="ada", job_id="other"))
        assert app.jobs.run(other).completed == 4


def test_muster_itself_is_a_server_that_a_command_starts(tag: str, tmp_path: Path) -> None:
    """The inner one is scripted; it is told nothing of the outer one's environment."""
    inner = tmp_path / "inner"
    inner.mkdir()
    member = {
        "model_name": "wise",
        "litellm_params": {"model": "scripted"},
        "model_info": {
            "muster": {
                "engine": "scripted",
                "prompt": "plain",
                "options": {"answers": {f"question {n}": f"it is question {n}" for n in range(4)}},
            }
        },
    }
    section = {"data_dir": str(inner / "data"), "embedder": {"model": "hash"}}
    (inner / "pool.yaml").write_text(yaml.safe_dump({"model_list": [member], "muster": section}))
    words = [sys.executable, "-m", "api.cli.main", "--config", str(inner / "pool.yaml")]
    starts = {
        "command": [*words, "serve", "--host", "{host}", "--port", "{port}"],
        "env": {"PYTHONPATH": str(ROOT), "TAG": tag},
        "health": "/health",
        "model_id": "wise",
    }
    path = write(tmp_path, {"outer": starts})
    progress = run(path, 4, model="outer")
    assert (progress.completed, progress.failed, progress.n_loads) == (4, 0, 1)


def test_experts_of_equal_command_and_weights_share_an_engine(tag: str, tmp_path: Path) -> None:
    rows = write(tmp_path, {"ada": options(tag), "ben": options(tag)})
    document = yaml.safe_load(rows.read_text())
    for row in document["model_list"]:
        row["litellm_params"]["model"] = "weights/same"
    rows.write_text(yaml.safe_dump(document))
    assert run(rows, 4, model="majority_all").n_loads == 1


def test_profile_of_a_gguf_file_is_of_its_content(tmp_path: Path) -> None:
    """A model that was moved is the same expert."""
    content = b"GGUF" + bytes(100)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.gguf").write_bytes(content)
    hashes = {weights_hash(str(tmp_path / folder / f"{folder}.gguf")) for folder in ("one", "two")}
    assert len(hashes) == 1


def test_answers_of_a_command_line_come_from_servers_that_end_with_it(tag: str, tmp_path: Path) -> None:
    """As people run it: the process ends without closing anything by hand."""
    path = write(tmp_path, {"ada": options(tag)})
    words = [
        sys.executable,
        "-m",
        "api.cli.main",
        "--config",
        str(path),
        "--json",
        "ask",
        "question 1",
        "-c",
        "ada",
    ]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=None, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "question 1" in json.loads(done.stdout)["answer"]
    assert tagged(tag) == []
