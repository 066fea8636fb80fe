"""Hostile programs. None may pass, harm, or outlive its run."""

import os
from pathlib import Path

import pytest

from skills.grading.sandbox import Sandbox, SandboxLimits

SANDBOX = Sandbox(SandboxLimits(cpu_s=10, wall_s=60.0))
FAILING = "assert False"


def run(code: str, tests: str = FAILING) -> str | None:
    """Why the program did not pass; fails the test if it did."""
    result = SANDBOX.run(code, tests)
    assert not result.passed
    return result.reason


def test_a_right_program_passes() -> None:
    assert SANDBOX.run("def f(n):\n    return n + 1", "assert f(1) == 2").passed


def test_a_failing_assertion_fails_with_its_message() -> None:
    assert run("x = 1", "assert x == 2, 'x is 1'") == "tests failed: AssertionError: x is 1"


@pytest.mark.parametrize(
    "leave",
    [
        "import os; os._exit(0)",
        "import sys; sys.exit(0)",
        "raise SystemExit(0)",
        "import _thread; _thread.exit()",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    ],
)
def test_leaving_early_is_no_pass(leave: str) -> None:
    assert run(leave) is not None


def test_a_forged_report_is_no_pass() -> None:
    code = """
import os
for fd in range(64):
    try:
        os.write(fd, b"0123456789abcdef0123456789abcdef passed\\n")
    except OSError:
        pass
os._exit(0)
"""
    assert run(code) == "tests did not finish"


def test_the_token_is_in_no_frame_that_the_program_can_walk_to() -> None:
    code = """
import sys
frame, seen = sys._getframe(), []
while frame is not None:
    seen += [str(k) for k in frame.f_locals] + [str(k) for k in frame.f_globals]
    frame = frame.f_back
found = "task" in seen or "token" in seen
"""
    assert SANDBOX.run(code, "assert not found").passed


def test_an_endless_loop_ends_at_the_processor_limit() -> None:
    result = Sandbox(SandboxLimits(cpu_s=1, wall_s=60.0)).run("while True: pass", "")
    assert result.reason == "tests did not finish"


def test_sleeping_ends_at_the_wall_clock_limit() -> None:
    result = Sandbox(SandboxLimits(wall_s=0.5)).run("import time; time.sleep(600)", "")
    assert result.reason == "tests ran out of time"


def test_a_memory_bomb_ends_at_the_memory_limit() -> None:
    assert "MemoryError" in (run("x = 'a' * (1 << 40)") or "")


@pytest.mark.parametrize(
    "spawn",
    [
        "import os\nwhile True: os.fork()",
        "import subprocess; subprocess.run(['sleep', '600'])",
        "import os; os.system('sleep 600')",
        "import _posixsubprocess; _posixsubprocess.fork_exec()",
        "import multiprocessing",
    ],
)
def test_no_process_is_started(spawn: str) -> None:
    reason = run(spawn) or ""
    assert "sandbox" in reason


def test_no_network() -> None:
    assert "not allowed" in (run("import socket; socket.create_connection(('127.0.0.1', 9))") or "")


def test_no_secrets_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_MASTER_KEY", "sk-secret")
    assert SANDBOX.run("import os", "assert 'sk-secret' not in str(os.environ)").passed


@pytest.mark.parametrize("path", ["/proc/self/environ", f"/proc/{os.getpid()}/environ", "/etc/passwd"])
def test_files_outside_cannot_be_read(path: str) -> None:
    assert "PermissionError" in (run(f"open({path!r}).read()") or "")


def test_files_outside_cannot_be_written_or_removed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("whole")
    for attack in (f"open({str(victim)!r}, 'w')", f"import os; os.remove({str(victim)!r})"):
        assert "PermissionError" in (run(attack) or "")
    assert victim.read_text() == "whole"


def test_a_link_out_of_the_workspace_is_not_followed() -> None:
    assert "not allowed" in (run("import os; os.symlink('/etc/passwd', 'p'); open('p').read()") or "")


def test_no_foreign_functions() -> None:
    assert "not available" in (run("import ctypes") or "")


def test_the_workspace_can_be_used() -> None:
    code = "open('f', 'w').write('x'); text = open('f').read()"
    assert SANDBOX.run(code, "assert text == 'x'").passed


def test_a_huge_file_ends_at_the_file_limit() -> None:
    assert "OSError" in (run("open('f', 'w').write('x' * (1 << 26))") or "")


def test_huge_output_is_dropped() -> None:
    assert SANDBOX.run("for _ in range(1000): print('x' * 100_000)", "assert True").passed


def test_ordinary_libraries_work() -> None:
    code = """
import asyncio, collections, dataclasses, datetime, heapq, math, random, re, tempfile, threading, unittest
Point = collections.namedtuple("Point", "x y")
asyncio.run(asyncio.sleep(0))
with tempfile.TemporaryFile() as file:
    file.write(b"x")
"""
    assert SANDBOX.run(code, "assert Point(1, 2).x == 1") == (True, None)
