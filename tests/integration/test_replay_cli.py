"""`muster replay` and the pictures of `muster bench`, by their command lines."""

import json
from pathlib import Path

import pytest

from api.cli.main import main
from tests.fakes.form_sets import write_form_set
from tests.fakes.replay_sets import write_replay_set

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUSTER_CONFIG", raising=False)
    return write_replay_set(tmp_path / "set", n=80)


def run(*words: str) -> int:
    return main(["replay", *words, "--seeds", "0", "--workers", "1"])


def test_json_is_one_object_with_the_promised_keys(folder: Path, capsys: Captured) -> None:
    names = "auto,best_single,static_top_3,majority_all,symbolic_paper,cluster,knn,oracle"
    assert run(str(folder), "--rows", names, "--pool", "four", "--profile", "many", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["pool"], report["profile"]) == ("four", "many")
    assert [row["name"] for row in report["rows"]] == names.split(",")
    for row in report["rows"]:
        assert row["ci95"][0] <= row["accuracy"] <= row["ci95"][1]
        assert row["sd"] == 0
        assert 1 <= row["calls"] <= 4


def test_the_first_line_is_the_verdict(folder: Path, capsys: Captured) -> None:
    assert run(str(folder), "--rows", "auto,best_single") == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(("route: 'auto' beats the best single expert by", "do not route:"))
    assert "95 % interval" in first


def test_out_receives_report_and_pictures_and_the_set_nothing(folder: Path, tmp_path: Path) -> None:
    before = sorted(folder.iterdir())
    assert run(str(folder), "--rows", "auto,best_single,oracle", "--out", str(tmp_path / "out")) == 0
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["accuracy_over_calls.png", "calibration.png", "domains.png", "report.json"]
    assert sorted(folder.iterdir()) == before


def test_the_folder_may_come_from_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("MUSTER_REPLAY_DIR", str(folder))
    assert run("--rows", "best_single", "--json") == 0
    assert json.loads(capsys.readouterr().out)["pool"] == "four"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pool", "pear"], "unknown pool 'pear'"),
        (["--profile", "lots"], "unknown profile 'lots'"),
        (["--rows", "kmn"], "unknown row 'kmn'"),
    ],
)
def test_a_name_that_does_not_exist_is_bad_usage(
    folder: Path, capsys: Captured, words: list[str], message: str
) -> None:
    assert run(str(folder), *words, "--json") == 2
    assert message in json.loads(capsys.readouterr().out)["error"]["message"]


def test_seeds_must_be_different_numbers(folder: Path, capsys: Captured) -> None:
    assert main(["replay", str(folder), "--seeds", "0,x"]) == 2
    assert "'0,x' names no seeds" in capsys.readouterr().err


def test_a_broken_set_is_bad_input(tmp_path: Path, capsys: Captured) -> None:
    assert main(["replay", str(tmp_path)]) == 2
    assert "questions.jsonl" in capsys.readouterr().err


def test_rows_that_vote_are_left_out_of_open_sets_and_named(
    folder: Path, tmp_path: Path, capsys: Captured
) -> None:
    graded = write_form_set(tmp_path / "open", forms=("open",), responses=False)
    assert run(str(graded), "--json", "--out", str(tmp_path / "out")) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert {"auto", "best_single", "oracle"} <= {row["name"] for row in report["rows"]}
    assert "majority_all" in report["left_out"]
    assert "Left out, since open questions have no votes: " in captured.err
    assert run(str(graded), "--rows", "majority_all") != 0
    assert "row 'majority_all' votes" in capsys.readouterr().err


def test_answers_are_read_off_the_texts_on_request(tmp_path: Path, folder: Path, capsys: Captured) -> None:
    mixed = write_form_set(tmp_path / "mixed")
    for reading in ("record", "texts"):
        assert run(str(mixed), "--rows", "auto,oracle", "--json", "--read", reading) == 0
        report = json.loads(capsys.readouterr().out)
        assert set(report["domains"]) == {"number", "text", "choice", "open"}
        assert report["domains"]["open"]["oracle"] == 75
