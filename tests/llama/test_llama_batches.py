"""Batches over real llama.cpp servers of tiny models: each is started once, one that is killed once more."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.bootstrap.app import open_app
from orchestrator.domain.assignments import JobProgress
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.requests import AskOptions
from orchestrator.settings.load import load_settings
from tests.llama.served import CONTEXT, EXACTLY, options
from tests.odd.gguf import tensors_of, values_of, written
from tests.tiny_models import tiny_model
from tests.unit.workers.backends.command.commands import await_end_of, tagged

NAMES = ("ada", "ben", "cyd")
N, OPEN = 100, AnswerType.OPEN


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    made = {}
    for seed, name in enumerate(NAMES):
        plain = tiny_model(folder / name, seed=seed, ends=False)
        made[name] = written(folder / f"{name}.gguf", values_of(plain), tensors_of(plain))
    return made


@pytest.fixture
def tag(tmp_path: Path) -> Iterator[str]:
    yield tmp_path.name
    await_end_of(tmp_path.name)


def pool(folder: Path, models: dict[str, Path]) -> Path:
    muster = {
        "engine": "command",
        "prompt": "plain",
        "max_model_len": CONTEXT,
        "options": options(folder.name, *EXACTLY),
    }
    rows: list[dict[str, Any]] = [
        {
            "model_name": name,
            "litellm_params": {"model": str(path), "max_tokens": 96},
            "model_info": {"muster": muster},
        }
        for name, path in models.items()
    ]
    section = {
        "data_dir": str(folder / "data"),
        "embedder": {"model": "hash"},
        "scheduler": {"max_resident": 1},
    }
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump({"model_list": rows, "muster": section}))
    return path


def run(path: Path, tag: str, on_progress: Callable[[JobProgress], None] | None = None) -> int:
    """Loads of the three jobs, one for each expert, to their ends; nothing is left running."""
    n_loads = 0
    with open_app(load_settings(path)) as app:
        for name in NAMES:
            queries = [Query(id=f"q{n}", question=f"question {n}", answer_type=OPEN) for n in range(N)]
            job_id = app.jobs.submit(queries, AskOptions(model=name, job_id=f"job-{name}"))
            progress = app.jobs.run(job_id, on_progress=on_progress)
            n_loads += progress.n_loads
            assert (progress.completed, progress.failed, progress.n_responses) == (N, 0, N)
            assert all(item.answer and item.answer.text for item in app.jobs.answers(job_id))
    assert tagged(tag) == []
    return n_loads


def test_each_server_is_started_once_for_all_waiting_work(
    models: dict[str, Path], tmp_path: Path, tag: str
) -> None:
    assert run(pool(tmp_path, models), tag) == len(NAMES)


def test_server_that_is_killed_in_the_middle_costs_a_load_and_no_answer(
    models: dict[str, Path], tmp_path: Path, tag: str
) -> None:
    killed: list[int] = []

    def kill(progress: JobProgress) -> None:
        """The servers that run once the first answers are there."""
        if 0 < progress.n_responses < N and not killed:
            killed.extend(tagged(tag))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    n_loads = run(pool(tmp_path, models), tag, kill)
    assert killed
    assert n_loads == len(NAMES) + 1
