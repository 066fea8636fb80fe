"""Commands end with their worker, however that ends: whatever they started, and whoever is killed."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.processes import ROOT
from tests.harness.waiting import wait_for
from tests.unit.workers.backends.command.commands import (
    await_end_of,
    loaded,
    spec,
    tagged,
    text_of,
)
from workers.backends.command.keeper import descendants
from workers.backends.command.process import CommandProcess, Launch, NoStartError

WORKER = f"""
import sys, threading
sys.path.insert(0, {str(ROOT)!r})
from tests.unit.workers.backends.command.commands import spec, text_of
from workers.backends.command.backend import CommandBackend
engine = CommandBackend().load(spec(sys.argv[1], sys.argv[2]), ())
print(text_of(engine), flush=True)
{{then}}
"""


@pytest.fixture
def tag(tmp_path: Path) -> Iterator[str]:
    yield tmp_path.name
    await_end_of(tmp_path.name)


@pytest.fixture(params=["fine", "stubborn", "family"])
def act(request: pytest.FixtureRequest) -> str:
    """A server; one that is deaf for signals; one with deaf relations, one of them in the background."""
    return str(request.param)


def worker(tag: str, act: str, then: str) -> "subprocess.Popen[str]":
    """A process with a loaded engine, which goes on as told."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER.format(then=then), tag, act], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "m says: hello\n"
    return process


def running_without(tag: str, pid: int) -> list[int]:
    return [found for found in tagged(tag) if found != pid]


def test_worker_that_is_killed_takes_its_servers_along(tag: str, act: str) -> None:
    process = worker(tag, act, "threading.Event().wait()")
    assert running_without(tag, process.pid)
    process.kill()
    process.communicate()
    await_end_of(tag)


def test_worker_that_ends_without_closing_anything_takes_its_servers_along(tag: str) -> None:
    process = worker(tag, "family", "import os; os._exit(0)")
    process.communicate()
    await_end_of(tag)


def test_fork_of_the_worker_keeps_no_server_alive(tag: str) -> None:
    """It has the worker's end of the lifeline as well, and outlives the worker."""
    process = worker(tag, "fine", "import os, time; os.fork() or time.sleep(30); threading.Event().wait()")
    wait_for("the fork", lambda: [p for p in descendants(process.pid) if is_fork(p.pid)], within_s=30)
    fork = next(p.pid for p in descendants(process.pid) if is_fork(p.pid))
    process.kill()
    process.wait()
    wait_for("the servers' end", lambda: set(tagged(tag)) <= {fork}, within_s=30)
    os.kill(fork, signal.SIGKILL)
    assert process.stdout is not None
    process.stdout.close()


def is_fork(pid: int) -> bool:
    """True of a Python that runs the worker's program."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return b"-c" in words


def test_server_whose_keeper_is_killed_ends_with_all_that_it_started(tag: str, act: str) -> None:
    with loaded(spec(tag, act)) as engine:
        keeper = int(Path(f"/proc/{engine.pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert b"keeper.py" in Path(f"/proc/{keeper}/cmdline").read_bytes()
        os.kill(keeper, signal.SIGKILL)
        await_end_of(tag)
        wait_for("the news of it", lambda: engine._up.process.ended, within_s=30)


def test_keeper_is_deaf_for_what_a_terminal_or_a_service_manager_sends_to_all(tag: str) -> None:
    with loaded(spec(tag)) as engine:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(engine._up.process.keeper_pid, number)
        assert text_of(engine) == "m says: hello"


def test_output_and_end_of_a_command_are_told() -> None:
    process = CommandProcess(Launch((sys.executable, "-c", "print('one\\ntwo'); exit(5)"), dict(os.environ)))
    wait_for("the end", lambda: process.ended, within_s=30)
    assert process.death() == "ended with code 5. Its last lines: one | two"
    process.kill()


def test_arguments_reach_the_program_as_they_are() -> None:
    odd = ["", " ", "a b", "'", '"', "$HOME", "*", "{model}", "ü\n", "-c"]
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    process = CommandProcess(Launch((sys.executable, "-c", code, *odd), dict(os.environ)))
    wait_for("the end", lambda: process.ended, within_s=30)
    assert json.loads(process.last_lines()) == odd
    process.kill()


def test_variables_that_are_no_text_reach_the_program_as_they_are() -> None:
    code = "import os; print(os.environb[b'ODD'])"
    env = {**os.environ, "ODD": os.fsdecode(b"\xff\xfe")}
    process = CommandProcess(Launch((sys.executable, "-c", code), env))
    wait_for("the end", lambda: process.ended, within_s=30)
    assert process.last_lines() == r"b'\xff\xfe'"
    process.kill()


@pytest.mark.parametrize("program", ["/no/such/program", "/etc", "/etc/hostname", "a\0b"])
def test_program_that_cannot_be_started_is_told_at_once(program: str) -> None:
    with pytest.raises(NoStartError, match="cannot be started"):
        CommandProcess(Launch((program,), {}))


def test_memory_of_a_command_is_that_of_all_below_it() -> None:
    """Two processes of 64 MiB each, which they share with nobody."""
    child = "x = b'1' * (64 << 20); import time; print('there', flush=True); time.sleep(3600)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); {child}"
    process = CommandProcess(Launch((sys.executable, "-c", code), dict(os.environ)))
    try:
        wait_for("both", lambda: process.last_lines().count("there") == 2, within_s=60)
        process.measure()
        assert 128 / 1024 <= process.held_gib <= 256 / 1024
        assert process.peak_gib >= process.held_gib
        assert not process.uses_card
    finally:
        process.kill()


def test_half_a_secret_at_the_beginning_of_what_is_kept_is_not_shown() -> None:
    """What was kept begins in the middle of a line; only the end of that is shown."""
    code = "print('sk-' + 'a1' * 40_000 + ' end')"
    process = CommandProcess(Launch((sys.executable, "-c", code), dict(os.environ)))
    wait_for("the end", lambda: process.ended, within_s=30)
    assert "a1a1" not in process.last_lines()
    process.kill()


@pytest.mark.parametrize(
    ("written", "ends"),
    [
        ("'key sk-' + 'a1' * 40_000", "''"),
        ("'key sk-a1a1'", "'a1a1a1a1a1a1a1 end\\n'"),
        ("'key sk-a1a1'", "'a1a1a1a1a1a1a1'"),
        ("'x' * 65_530 + ' sk-a1a1'", "'a1a1a1a1a1a1a1\\nend\\n'"),
    ],
)
def test_secret_that_comes_in_pieces_is_in_no_log_and_no_message(
    written: str, ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        f"import sys, time; sys.stdout.write({written}); sys.stdout.flush(); time.sleep(0.2); "
        f"sys.stdout.write({ends})"
    )
    with caplog.at_level(logging.DEBUG):
        process = CommandProcess(Launch((sys.executable, "-c", code), dict(os.environ)))
        wait_for("the end", lambda: process.ended, within_s=30)
        lines = process.last_lines()
        process.kill()
    assert "a1a1" not in lines
    assert "a1a1" not in caplog.text.replace(code, "")


def test_output_is_logged_by_whole_lines_and_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    code = "import sys; [sys.stdout.write(f'line {n}\\n' * 999) for n in range(9)]; sys.stdout.write('end')"
    with caplog.at_level(logging.DEBUG):
        process = CommandProcess(Launch((sys.executable, "-c", code), dict(os.environ)))
        wait_for("the end", lambda: process.ended, within_s=30)
        assert process.last_lines() == "line 8 | line 8 | line 8 | end"
        process.kill()
    told = "\n".join(r.getMessage().partition(": ")[2] for r in caplog.records if "command" in r.getMessage())
    assert told.split("\n") == [f"line {n}" for n in range(9) for _ in range(999)] + ["end"]


@pytest.mark.parametrize(
    ("number", "name"), [(34, "SIGRTMIN"), (40, "SIGRTMIN"), (11, "SIGSEGV"), (64, "SIGRT")]
)
def test_death_by_any_signal_is_told(number: int, name: str) -> None:
    code = f"import os; os.kill(os.getpid(), {number})"
    process = CommandProcess(Launch((sys.executable, "-c", code), dict(os.environ)))
    wait_for("the end", lambda: process.ended, within_s=30)
    assert process.death().startswith(f"was ended by signal {number} ({name}")
    process.kill()
