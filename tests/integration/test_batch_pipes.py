"""`muster batch` with standard input, pipes and renamed files, over scripted experts."""

import io
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from api.cli.main import main
from tests.integration.scripted_pool import events, write_pool, write_questions

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return str(write_pool(tmp_path))


def batch(pool: str, *words: str) -> int:
    return main(["--config", pool, "batch", *words, "-c", "alpha"])


@contextmanager
def fed(path: Path, content: bytes) -> Iterator[None]:
    """Somebody who writes into a pipe, once."""
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    try:
        yield
    finally:
        writer.join(10)


@pytest.fixture
def questions(tmp_path: Path) -> bytes:
    return write_questions(tmp_path / "q.jsonl", range(3)).read_bytes()


def answers(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


def standard_input(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_dash_is_standard_input_and_its_answers_go_to_standard_output(
    pool: str, questions: bytes, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    standard_input(questions, monkeypatch)

    assert batch(pool, "-") == 0

    shown = capsys.readouterr()
    assert answers(shown.out) == ["q0", "q1", "q2"]
    assert f"{len(questions)} bytes read from standard input" in shown.err
    assert "3 of 3 answered" in shown.err


def test_a_pipe_is_read_once_and_answered_into_a_file(
    pool: str, questions: bytes, tmp_path: Path, capsys: Captured
) -> None:
    os.mkfifo(tmp_path / "pipe")

    with fed(tmp_path / "pipe", questions):
        assert batch(pool, "pipe", "-o", "out.jsonl", "--json") == 0

    assert json.loads(capsys.readouterr().out)["total"] == 3
    assert answers((tmp_path / "out.jsonl").read_text()) == ["q0", "q1", "q2"]


def test_answers_go_into_a_pipe_without_replacing_it(pool: str, questions: bytes, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()

    assert questions
    assert batch(pool, "q.jsonl", "-o", "pipe") == 0

    reader.join(10)
    assert answers(read[0]) == ["q0", "q1", "q2"]
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_nothing_read_is_an_error(
    content: bytes, pool: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    standard_input(content, monkeypatch)

    assert batch(pool, "-") == 2

    assert "standard input holds no questions" in capsys.readouterr().err


def test_a_json_summary_and_answers_cannot_share_standard_output(
    pool: str, questions: bytes, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    standard_input(questions, monkeypatch)

    assert batch(pool, "-", "--json") == 2

    assert "-o FILE" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["renamed", "copied", "linked", "piped"])
def test_a_job_is_its_content_whatever_the_file_is_called(
    how: str, pool: str, questions: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    assert batch(pool, "q.jsonl", "--json") == 0
    first = json.loads(capsys.readouterr().out)["job_id"]
    n_generated = len(events(tmp_path, "generation"))
    if how == "renamed":
        Path("q.jsonl").rename("other.jsonl")
    elif how == "copied":
        shutil.copy("q.jsonl", "other.jsonl")
    elif how == "linked":
        Path("other.jsonl").symlink_to("q.jsonl")
    standard_input(questions, monkeypatch)

    file = "-" if how == "piped" else "other.jsonl"
    assert batch(pool, file, "-o", "again.jsonl", "--resume", "--json") == 0

    assert json.loads(capsys.readouterr().out)["job_id"] == first
    assert len(events(tmp_path, "generation")) == n_generated
    assert Path("again.jsonl").read_text() == Path("q.answers.jsonl").read_text()


def test_the_profile_set_of_the_pool_file_needs_not_be_named(
    pool: str, questions: bytes, capsys: Captured
) -> None:
    assert questions
    assert main(["--config", pool, "profile", "--no-exam", "--json"]) == 2
    assert "muster.profile_set" in json.loads(capsys.readouterr().out)["error"]["message"]

    config = yaml.safe_load(Path(pool).read_text())
    config.setdefault("muster", {})["profile_set"] = "q.jsonl"
    Path(pool).write_text(yaml.safe_dump(config))
    assert main(["--config", pool, "profile", "--no-exam", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_questions"] == 3
