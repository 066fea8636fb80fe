"""The frame around the commands: global options, errors, exit codes, and what help imports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli.batch import interrupted, resume_command
from api.cli.main import COMMANDS, hoisted, main
from api.cli.session import Session
from orchestrator import __version__
from orchestrator.errors import ConfigError

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("argv", "front", "rest"),
    [
        (["ask", "q", "--json"], ["--json"], ["ask", "q"]),
        (["--debug", "ask", "--config", "p.yaml", "q"], ["--debug", "--config", "p.yaml"], ["ask", "q"]),
        (["ask", "--config=p.yaml"], ["--config=p.yaml"], ["ask"]),
        (["ask", "--", "--json"], [], ["ask", "--", "--json"]),
        (["ask", "--config"], ["--config"], ["ask"]),
        ([], [], []),
    ],
)
def test_global_options_may_stand_anywhere(argv: list[str], front: list[str], rest: list[str]) -> None:
    assert hoisted(argv) == (front, rest)


def test_help_needs_no_model_or_web_library() -> None:
    code = (
        "import sys; from api.cli.main import main; assert main(['--help']) == 0; "
        "print(sorted({m.split('.')[0] for m in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(run.stdout.splitlines()[-1].replace("'", '"')))
    heavy = {"torch", "transformers", "numpy", "scipy", "fastapi", "sqlalchemy", "matplotlib", "pydantic"}
    assert not loaded & heavy


def test_help_lists_every_command(capsys: Captured) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*COMMANDS, "config", "models"))


@pytest.mark.parametrize(
    "argv", [["nothing"], ["ask"], ["batch", "x.jsonl", "--nothing"], ["serve", "--port", "x"]]
)
def test_bad_usage_is_2_with_one_json_document(argv: list[str], capsys: Captured) -> None:
    assert main([*argv, "--json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["code"] == "invalid_request"
    assert captured.err


@pytest.mark.parametrize(
    "argv",
    [
        ["ask", "How", "many?"],
        ["batch", "my", "questions.jsonl"],
        ["jobs", "show", "a", "b"],
        ["bench", "a", "b"],
    ],
)
def test_words_too_many_may_want_quotes(argv: list[str], capsys: Captured) -> None:
    assert main(argv) == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "Words that belong together stand in quotes." in said


def test_other_wrong_usage_is_told_without_quotes(capsys: Captured) -> None:
    assert main(["ask"]) == 2
    assert "quotes" not in capsys.readouterr().err


def test_missing_configuration_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUSTER_CONFIG", raising=False)
    assert main(["experts"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--config FILE" in captured.err


def test_configuration_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, variable, default = (tmp_path / name for name in ("given.yaml", "variable.yaml", "muster.yaml"))
    for file in (given, variable, default):
        file.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUSTER_CONFIG", raising=False)
    assert Session().config_path() == Path("muster.yaml")
    monkeypatch.setenv("MUSTER_CONFIG", str(variable))
    assert Session().config_path() == variable
    assert Session(config=given).config_path() == given
    with pytest.raises(ConfigError):
        Session(config=tmp_path / "missing.yaml").config_path()


def test_a_bug_is_one_line_with_a_hint_and_a_trace_only_with_debug(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def broken(self: Session) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(Session, "settings", broken)
    assert main(["experts", "--json"]) == 1
    quiet = capsys.readouterr()
    assert json.loads(quiet.out)["error"]["code"] == "internal_error"
    assert "--debug" in quiet.err
    assert "Traceback" not in quiet.err
    assert main(["experts", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["batch", "w" * 300],
        ["replay", "w" * 300],
        ["merge", "w" * 300, "--out", "x"],
        ["experts", "--config", "w" * 300],
    ],
)
def test_a_path_that_no_file_can_have_is_wrong_usage_and_no_bug(words: list[str], capsys: Captured) -> None:
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "name too long" in told
    assert "unexpected" not in told


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def interrupted(self: Session) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "settings", interrupted)
    assert main(["experts"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_models_can_be_listed_without_a_configuration(capsys: Captured) -> None:
    assert main(["models", "list", "--json"]) == 0
    assert {"name", "package", "license"} == set(json.loads(capsys.readouterr().out)[0])


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/bin/muster", "batch", "my file.jsonl"], "muster batch --resume 'my file.jsonl'"),
        (["muster", "--json", "batch", "f", "--resume"], "muster --json batch f --resume"),
    ],
)
def test_resume_command_repeats_what_was_typed(argv: list[str], command: str) -> None:
    assert resume_command(argv) == command


def test_a_closed_pipe_is_no_stack_trace() -> None:
    """`muster --help | head -0`"""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        run = subprocess.run(
            [sys.executable, "-m", "api.cli.main", "models", "list"],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert b"Traceback" not in run.stderr


def test_who_interrupts_a_batch_is_told_how_to_come_back() -> None:
    again = "muster batch --resume q.jsonl"
    assert interrupted(False, "job-1", again) == f"Interrupted. Continue with: {again}"
    in_stack = interrupted(True, "job-1", again)
    assert "workers go on" in in_stack
    assert "muster jobs cancel job-1" in in_stack
    assert in_stack.endswith(again)


def test_the_zoo_is_where_it_is_said_to_be(capsys: Captured) -> None:
    """In one line, however long: it is made for `$(muster config zoo)`."""
    assert main(["config", "zoo"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert Path(line).name == "pool.yaml"
    assert Path(line).with_name("profile.jsonl").is_file()


def test_the_version_is_told_without_a_configuration(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"muster {__version__}\n"
