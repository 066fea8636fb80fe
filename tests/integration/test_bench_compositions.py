"""`muster bench compositions` over a small pool of real weights, and its words where it cannot run."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from api.cli import zoo
from api.cli.main import main
from examples.zoo.questions import of_task, to_jsonl
from examples.zoo.tasks import TASKS
from examples.zoo.train import MODELS

Captured = pytest.CaptureFixture[str]
SKILLS = ("reverse", "capitals", "roman")


def write_pool(folder: Path, members: Sequence[str] = SKILLS) -> Path:
    """Specialists of the zoo as a pool, with a profile of four questions each and two held out."""
    for split, n in (("profile", 4), ("test", 2)):
        questions = [q for skill in SKILLS for q in of_task(TASKS[skill], split, n)]
        (folder / f"{split}.jsonl").write_text(to_jsonl(questions, split))
    options = {"engine": "transformers", "prompt": "plain", "max_model_len": 512}
    pool = {
        "muster": {"profile_set": "profile.jsonl", "embedder": {"model": "hash"}},
        "model_list": [
            {
                "model_name": name,
                "litellm_params": {"model": str(MODELS / name), "max_tokens": 24},
                "model_info": {"mode": "chat", "muster": options},
            }
            for name in members
        ],
    }
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump(pool))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUSTER_CONFIG", raising=False)
    return tmp_path


def test_rows_have_kind_compute_and_interval_and_a_verdict_ends_them(folder: Path, capsys: Captured) -> None:
    """Six questions are too few for a sure gain, whatever it is."""
    pool = write_pool(folder)
    words = ["bench", "compositions", "test.jsonl", "-c", "best_single", "-c", "majority_all", "-c", "roman"]
    assert main(["--config", str(pool), *words, "--out", "made", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in report["rows"]}
    assert [(name, row["kind"]) for name, row in rows.items()] == [
        ("best_single", "single"),
        ("majority_all", "ensemble"),
        ("roman", "single"),
    ]
    assert all(row["ci95"][0] <= row["accuracy"] <= row["ci95"][1] for row in rows.values())
    assert all(row["seconds"] > 0 for row in rows.values())
    cost = rows["majority_all"]["gflop_per_query"] / rows["roman"]["gflop_per_query"]
    assert cost == pytest.approx(len(SKILLS), rel=0.2)
    assert report["verdict"].startswith("do not combine: no combination surely beats")
    assert "'majority_all' +" in report["verdict"]
    assert {path.name for path in (folder / "made").iterdir()} == {"compositions.json", "compositions.png"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compositions"], "no questions to compare on"),
        (["compositions", "test.jsonl", "-c", "nothing"], "unknown model 'nothing'"),
        (["compositions", "nowhere.jsonl"], "cannot read nowhere.jsonl"),
        (["nowhere.jsonl"], "cannot read nowhere.jsonl"),
        (["compositions", "test.jsonl", "--out", "pool.yaml"], "'pool.yaml' cannot be a folder"),
        (["compositions", "test.jsonl", "-c", "muster/nothing"], "unknown model 'muster/nothing'"),
        (["compositions", "profile.jsonl", "-c", "best_single"], "questions were profiled on"),
    ],
)
def test_bad_usage_is_told_in_a_line(folder: Path, capsys: Captured, words: list[str], said: str) -> None:
    pool = write_pool(folder, ["roman"])
    assert main(["--config", str(pool), "bench", *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err


def test_where_there_is_no_example_pool_that_is_said(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("PACKAGED", "CHECKOUT"):
        monkeypatch.setattr(zoo, place, folder / "none")
    assert main(["bench", "compositions"]) == 2
    assert "built without it" in capsys.readouterr().err


def test_a_pool_without_profile_says_how_to_get_one(folder: Path, capsys: Captured) -> None:
    pool = write_pool(folder, ["roman"])
    text = yaml.safe_load(pool.read_text())
    del text["muster"]["profile_set"]
    pool.write_text(yaml.safe_dump(text))
    assert main(["--config", str(pool), "bench", "compositions", "test.jsonl"]) == 2
    assert "Give --profile FILE" in capsys.readouterr().err


def test_help_of_bench_stays_its_own_and_names_what_is_within(capsys: Captured) -> None:
    assert main(["bench", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "muster bench [OPTIONS]" in shown
    assert "muster bench compositions --help" in shown
