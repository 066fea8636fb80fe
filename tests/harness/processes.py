"""Processes: each in a session of its own, its output in a file, ended whatever happens."""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from tests.harness.waiting import becomes_true, wait_for

ROOT = Path(__file__).parents[2]


class Process:
    """A command and whatever it starts. `start` after its end starts it anew; the log goes on.

    Args:
        ready: text of its log that says it has started; None = nothing to wait for.
        limits: `resource` limits, soft and hard, by number.
        inherits: whether it gets our environment, too.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        inherits: bool = True,
        log: Path,
        cwd: Path = ROOT,
        ready: str | None = None,
        limits: Mapping[int, tuple[int, int]] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.command = list(command)
        self.env = dict(env)
        self._inherits = inherits
        self.cwd = cwd
        self._ready = ready
        self._limits = dict(limits or {})
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._owned: IO[bytes] | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen.pid

    @property
    def is_alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        return None if self._popen is None else self._popen.poll()

    def start(self) -> "Process":
        assert not self.is_alive, f"{self.name} runs already"
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env={**os.environ, **self.env} if self._inherits else self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=self._apply_limits if self._limits else None,
            )
        return self

    def await_ready(self, *, within_s: float = 60) -> float:
        """Seconds until it said that it is ready."""
        if self._ready is None:
            return 0.0
        started, wanted = time.monotonic(), self._ready

        def look() -> bool:
            if not self.is_alive:
                raise RuntimeError(f"{self.name} ended with {self.returncode}: {self.tail()}")
            return wanted in self.output()

        wait_for(f"{self.name} says '{wanted}'", look, within_s=within_s)
        return time.monotonic() - started

    def output(self) -> str:
        """What it wrote since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")

    def tail(self, n_lines: int = 15) -> str:
        return "\n".join(self.output().splitlines()[-n_lines:])

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def signal_all(self, number: int) -> None:
        """The process and its children, wherever they moved to."""
        for pid in [*descendants(self.pid), self.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill_alone(self) -> None:
        """-9 for the process itself; its children are left to notice."""
        assert self._popen is not None, f"{self.name} was not started"
        self._popen.kill()
        self._popen.wait()

    def kill(self) -> None:
        """-9 for it and its children; nothing happens to one that ended."""
        if self._popen is None:
            return
        if self.is_alive:
            self.signal_all(signal.SIGKILL)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def wait(self) -> int:
        """Until it ends by itself; the exit code."""
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen.wait()

    def stop(self, *, within_s: float = 20) -> int | None:
        """SIGTERM; returns the exit code, None when it had to be killed."""
        if not self.is_alive:
            return self.returncode
        self.signal(signal.SIGTERM)
        if not becomes_true(lambda: not self.is_alive, within_s=within_s):
            self.kill()
            return None
        code = self.returncode
        self.kill()  # whatever it left behind in its session
        return code

    def restart(self) -> None:
        self.kill()
        self.start()

    def rss_mib(self) -> float:
        """Resident memory of the process, without its children."""
        return _memory_mib(self.pid, "VmRSS")

    def peak_mib(self) -> float:
        """Peak resident memory of the process so far, without its children."""
        return _memory_mib(self.pid, "VmHWM")

    def tree_peak_mib(self) -> float:
        """Peaks of the process and its children, summed: pages that they share count twice."""
        return sum(_memory_mib(pid, "VmHWM") for pid in self._tree())

    def tree_cpu_s(self) -> float:
        """Processor time that the process and its living children have taken."""
        return sum(cpu_s(pid) for pid in self._tree())

    def _tree(self) -> list[int]:
        return [self.pid, *descendants(self.pid)]

    def _apply_limits(self) -> None:
        for number, limit in self._limits.items():
            resource.setrlimit(number, limit)


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, parents first."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, queue = [], [pid]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += children
    return found


def cpu_s(pid: int) -> float:
    """Processor time that a process has taken; 0 for one that is gone."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def lineage_cpu_s(pid: int) -> float:
    """Processor time of a process, of the children that it has, and of those that it had and waited for."""
    gone = 0.0
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        gone = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return gone + sum(cpu_s(each) for each in [pid, *descendants(pid)])


def _memory_mib(pid: int, field: str) -> float:
    """A size of /proc/PID/status; 0 for a process that is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    return 0.0


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
