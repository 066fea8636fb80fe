"""Where answers go when the place is no ordinary file, and what happens when nobody reads them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.scripted_pool import write_pool

QUESTIONS = '{"id": "a", "question": "alpha?"}\n{"id": "b", "question": "beta?"}\n'


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    (tmp_path / "q.jsonl").write_text(QUESTIONS)
    return write_pool(tmp_path)


def muster(pool: Path, *words: str, **streams: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "api.cli.main", "--config", str(pool), *words]
    return subprocess.run(command, cwd=pool.parent, check=False, timeout=100, **streams)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("place", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_that_is_a_file_is_written_not_replaced(pool: Path, place: str) -> None:

    with (pool.parent / "out").open("wb") as out:
        done = muster(
            pool, "batch", "q.jsonl", "-c", "alpha", "-o", place, stdout=out, stderr=subprocess.PIPE
        )
    assert done.returncode == 0, done.stderr
    assert [line[:8] for line in (pool.parent / "out").read_text().splitlines()] == ['{"id": "', '{"id": "']
    assert b"2 of 2 answered" in done.stderr
    assert not (Path("/dev/stdout").exists() and Path("/dev/stdout").lstat().st_size > 100)


def test_what_stands_behind_a_descriptor_is_kept(pool: Path) -> None:
    log = pool.parent / "log"
    log.write_text("first\n")
    with log.open("ab") as out:
        place = f"/dev/fd/{out.fileno()}"
        done = muster(
            pool, "batch", "q.jsonl", "-c", "alpha", "-o", place, pass_fds=[out.fileno()], capture_output=True
        )
    assert done.returncode == 0, done.stderr
    assert [line[:5] for line in log.read_text().splitlines()] == ["first", '{"id"', '{"id"']


def test_a_reader_who_has_enough_ends_a_command_without_a_word(pool: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = muster(pool, "batch", "q.jsonl", "-c", "alpha", "-o", "-", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, b"Error" in done.stderr, b"Traceback" in done.stderr) == (1, False, False)


@pytest.mark.parametrize("words", [("experts",), ("experts", "--json"), ("cards", "--json")])
def test_output_that_cannot_be_written_is_a_line_not_a_stack_trace(
    pool: Path, words: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("wb") as full:
        done = muster(pool, *words, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [(("batch", "-"), b"standard input is closed"), (("batch", "."), b"is no question file")],
)
def test_questions_from_nowhere_are_wrong_usage(pool: Path, words: tuple[str, ...], message: bytes) -> None:
    command = [sys.executable, "-m", "api.cli.main", "--config", str(pool), *words]
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command], cwd=pool.parent, capture_output=True, check=False
    )
    assert (closed.returncode, message in closed.stderr) == (2, True), closed.stderr
