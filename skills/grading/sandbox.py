"""Runs model-written code with its unit tests in a child process that can hurt nobody.

Layers, each of which holds alone for accidents and together for malice: an isolated interpreter
(`-I`), an environment without secrets, a temporary working directory, limits on CPU time, memory, file size
and processes, a network namespace and Landlock file rules where the kernel permits them, an audit
hook that refuses sockets, processes and files outside, a wall-clock limit that kills the process
group. Code passes only if the runner writes back a random token after the tests: leaving early,
with whatever exit status, is no pass.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from orchestrator.errors import SkillError

_RUNNER = Path(__file__).with_name("sandbox_runner.py")
_MAX_REPORT_BYTES = 4_096
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class SandboxLimits(NamedTuple):
    """`wall_s` covers the interpreter's start, too; `memory_bytes` is address space; `processes`
    counts threads, and holds where the kernel permits user namespaces."""

    cpu_s: int = 10
    wall_s: float = 20.0
    memory_bytes: int = 1 << 30
    file_bytes: int = 1 << 20
    processes: int = 64


class SandboxResult(NamedTuple):
    """`reason` says why the tests did not pass."""

    passed: bool
    reason: str | None = None


class Sandbox:
    """Thread-safe; every run has its own process and directory."""

    def __init__(self, limits: SandboxLimits | None = None) -> None:
        self._limits = limits or SandboxLimits()

    def run(self, code: str, tests: str) -> SandboxResult:
        """Execute `code`, then `tests` in the same namespace.

        Raises:
            SkillError: the child process cannot be started.
        """
        token = secrets.token_hex(16)
        limits = self._limits
        task = {
            "token": token,
            "code": code,
            "tests": tests,
            "cpu_s": limits.cpu_s,
            "memory_bytes": limits.memory_bytes,
            "file_bytes": limits.file_bytes,
            "processes": limits.processes,
        }
        with tempfile.TemporaryDirectory(prefix="muster-code-", ignore_cleanup_errors=True) as directory:
            timed_out, report = self._execute(json.dumps(task).encode(), Path(directory))
        return _result(report, token, timed_out=timed_out)

    def _execute(self, task: bytes, directory: Path) -> tuple[bool, bytes]:
        """The report goes to a file, whose size the kernel limits: no pipe to fill or to drain."""
        workspace = directory / "work"
        workspace.mkdir()
        with (directory / "report").open("w+b") as report:
            try:
                child = subprocess.Popen(  # noqa: S603  (running untrusted code, confined, is the purpose)
                    [sys.executable, "-I", str(_RUNNER)],
                    stdin=subprocess.PIPE,
                    stdout=report,
                    stderr=subprocess.DEVNULL,
                    cwd=workspace,
                    env={**_ENVIRONMENT, "TMPDIR": str(workspace)},
                    start_new_session=True,
                )
            except OSError as error:
                raise SkillError(
                    f"the code sandbox cannot start: {error}.", remedy="Check memory and process limits."
                ) from error
            timed_out = _communicate(child, task, self._limits.wall_s)
            report.seek(0)
            return timed_out, report.read(_MAX_REPORT_BYTES)


def _communicate(child: subprocess.Popen[bytes], task: bytes, wall_s: float) -> bool:
    """Hand the task over and wait; afterwards no process of the group is alive. True = timed out."""
    try:
        child.communicate(task, timeout=wall_s)
        return False
    except subprocess.TimeoutExpired:
        return True
    finally:
        _kill_group(child)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # the group may have ended already
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdin is not None:
        child.stdin.close()


def _result(report: bytes, token: str, *, timed_out: bool) -> SandboxResult:
    if timed_out:
        return SandboxResult(False, "tests ran out of time")
    passed, _, reason = report.decode(errors="replace").partition("\n")
    if secrets.compare_digest(passed.encode(), f"{token} passed".encode()):
        return SandboxResult(True)
    if passed == f"{token} failed":
        return SandboxResult(False, f"tests failed: {reason.strip()}")
    return SandboxResult(False, "tests did not finish")
