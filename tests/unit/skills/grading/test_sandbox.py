"""Hostile programs. None may pass, harm, or outlive its run."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from orchestrator.errors import SkillError
from skills.grading import sandbox
from skills.grading.confined import landlock, seccomp
from skills.grading.confined.syscalls import ARCHITECTURES
from skills.grading.sandbox import LAYERS, Sandbox, SandboxLimits
from tests.sandbox.outside import DISK_BYTES, sandboxed, survivors

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


def test_the_tests_are_nowhere_in_the_memory_of_the_program() -> None:
    code = """
import gc, sys
frame, seen = sys._getframe(), []
while frame is not None:
    seen += [repr(frame.f_locals), repr(frame.f_globals)]
    frame = frame.f_back
seen += [repr(o) for o in gc.get_objects() if isinstance(o, (dict, list, tuple))]
found = any("needle" + str(-4711) in text for text in seen)
"""
    assert SANDBOX.run(code, "assert not found, 'needle-4711'").passed


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
        "import os\nif os.system('sleep 600'): raise PermissionError",
        "import _posixsubprocess; _posixsubprocess.fork_exec()",
        "import multiprocessing; multiprocessing.Process(target=print).start()",
    ],
)
def test_no_process_is_started(spawn: str) -> None:
    """The control in the code shows that it was this line that failed."""
    reason = run(f"started = True\n{spawn}\nassert False, 'started'") or ""
    assert "PermissionError" in reason or "TypeError" in reason


def test_no_network() -> None:
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    assert "PermissionError" in (run(code) or "")


def test_no_secrets_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_MASTER_KEY", "sk-secret")
    assert SANDBOX.run("import os", "assert 'sk-secret' not in str(os.environ)").passed


@pytest.mark.parametrize(
    "path", ["/proc/self/environ", f"/proc/{os.getpid()}/environ", "/etc/passwd", __file__, "/sys/kernel"]
)
def test_files_outside_are_not_there(path: str) -> None:
    assert "FileNotFoundError" in (run(f"open({path!r}).read()") or "")


def test_files_outside_cannot_be_written_or_removed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("whole")
    for attack in (f"open({str(victim)!r}, 'w')", f"import os; os.remove({str(victim)!r})"):
        assert "FileNotFoundError" in (run(attack) or "")
    assert victim.read_text() == "whole"


def test_a_link_out_of_the_workspace_leads_nowhere() -> None:
    attack = "import os; os.symlink('/etc/passwd', 'p'); open('p').read()"
    assert "FileNotFoundError" in (run(attack) or "")


def test_foreign_functions_reach_no_more_than_the_language() -> None:
    code = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); left = libc.unshare(0x10000000)"
    assert SANDBOX.run(code, "assert left == -1").passed


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


def test_every_layer_is_here() -> None:
    assert [layer.name for layer in SANDBOX.layers() if layer.missing is None] == list(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_code_is_not_run_without_a_layer(layer: str) -> None:
    with pytest.raises(SkillError, match=f"lacks '{layer}'") as error:
        Sandbox(without=frozenset({layer})).run("x = 1", "assert x == 1")
    assert "muster.grading.isolation" in str(error.value)


def test_code_is_run_without_a_layer_where_that_is_allowed() -> None:
    lenient = Sandbox(lenient=True, without=frozenset({"net", "uts"}))
    assert lenient.run("x = 1", "assert x == 1").passed
    assert [layer.name for layer in lenient.layers() if layer.missing] == ["net", "uts"]


def test_deep_folders_do_no_harm_without_a_mount_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    folder.chmod(0o711)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    deep = "import os\nfor _ in range(1500):\n    os.mkdir('d')\n    os.chdir('d')"
    assert Sandbox(lenient=True, without=frozenset({"mount"})).run(deep, "").passed
    folder.rmdir()  # it is empty


def test_the_folder_is_limited_as_a_whole() -> None:
    code = """
for n in range(100):
    with open(f"f{n}", "wb") as file:
        file.write(bytes(1 << 20))
"""
    assert "No space left" in (run(code) or "")


def test_reasons_are_fit_to_be_stored() -> None:
    reason = run("raise ValueError('\\0 \\udcff \\x1b[2J x')") or ""
    assert reason.replace("\N{REPLACEMENT CHARACTER}", "?") == "tests failed: ValueError: ? ? ?[2J x"


def test_a_compressor_and_a_database_find_their_libraries() -> None:
    code = "import bz2, ctypes, decimal, hashlib, lzma, sqlite3, ssl, uuid, zlib"
    assert SANDBOX.run(code, "assert zlib.decompress(zlib.compress(b'x')) == b'x'") == (True, None)


def test_a_run_ends_with_its_grader() -> None:
    """Its time limit is the grader's: a grader that is killed cannot keep it."""
    before = sandboxed()
    script = "from skills.grading.sandbox import *\n" + (
        f"Sandbox(SandboxLimits(wall_s=1e6, disk_bytes={DISK_BYTES})).run('import time; time.sleep(1e6)', '')"
    )
    grader = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[4])
    while len(sandboxed() - before) < 3:  # launcher, tester, program
        assert grader.poll() is None
    grader.kill()
    grader.wait()
    assert survivors(before) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_has_all_layers() -> None:
    """With an interpreter that this user may read, which is not always the one that runs the tests."""
    command = [
        "from skills.grading.sandbox import Sandbox",
        "assert all(layer.missing is None for layer in Sandbox().layers())",
        "assert Sandbox().run('x = 1', 'assert x == 1').passed",
    ]
    for python in filter(None, (sys.executable, shutil.which("python3", path="/usr/bin"))):
        arguments = [python, "-B", "-c", "\n".join(command)]
        environment = {"PYTHONPATH": str(Path(__file__).parents[4])}
        try:
            done = subprocess.run(
                arguments,
                user=12345,
                group=12345,
                extra_groups=[],
                env=environment,
                capture_output=True,
                text=True,
            )
        except PermissionError:
            continue
        if "ModuleNotFoundError" in done.stderr:
            continue
        assert done.returncode == 0, done.stderr
        return
    pytest.skip("no interpreter and checkout that another user may read")


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_filter_ends_in_a_refusal_and_jumps_inside_itself(machine: str) -> None:
    rows = seccomp.program(machine)
    assert rows[-1][3] & 0xFFFF0000 == 0x00050000
    assert all(
        place + 1 + max(row[1], row[2]) < len(rows)
        for place, row in enumerate(rows)
        if row[0] in (0x15, 0x45)
    )


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_filter_knows_no_call_that_starts_or_reaches_others(machine: str) -> None:
    allowed = set(ARCHITECTURES[machine][1])
    assert not allowed & {
        "execve",
        "execveat",
        "fork",
        "vfork",
        "kill",
        "tgkill",
        "ptrace",
        "mount",
        "unshare",
        "socket",
    }


@pytest.mark.parametrize(("version", "n_rights"), [(1, 13), (2, 14), (3, 15), (4, 15), (5, 16), (7, 16)])
def test_landlock_handles_every_right_of_its_version(version: int, n_rights: int) -> None:
    assert landlock.rights_on_files(version).bit_count() == n_rights


def test_an_interpreter_that_cannot_be_started_is_told_of_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox._libraries.cache_clear()
    monkeypatch.setattr(sys, "executable", "/etc/hostname")
    assert all("cannot start" in str(layer.missing) for layer in Sandbox().layers())
