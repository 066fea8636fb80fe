"""Script of the process between a worker and a command: it sees to it that the command, and whatever that
started, ends with the worker.

It knows nothing of Muster and needs the standard library only. Its standard input holds what to start, as
JSON; its output is the command's. As a *subreaper* (Linux) it inherits every process below the command whose
own parent ended, so that none gets away by going to the background; where the system has no subreapers, the
command's process group is all that it knows.

It ends when nothing below it is left, for one of four reasons: the command ended; the worker asked for that
(STOP, or KILL, on the lifeline); the lifeline was closed; the worker's process is gone.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

STOP, KILL = b"s", b"k"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LOOK_S = 1.0
"""Longest time between two looks at what no descriptor tells."""
ROUND_S = 0.05
"""Between two rounds of signals: processes that are told to end may start others first."""


def prctl(option: int, value: int) -> bool:
    """Ask the kernel for `option` (a PR_… number) with `value`; True if it did so, False elsewhere than on
    Linux."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)


class Keeper:
    """Keeps one command.

    Args:
        lifeline: read end of the worker's pipe.
        report: write end of a pipe: one JSON object a line, `{"pid": …}` or `{"errno": …}`, then perhaps
            `{"ended": …, "left": …}`.
        worker: process id of the worker.
    """

    def __init__(self, lifeline: int, report: int, worker: int) -> None:
        self._lifeline = lifeline
        self._report = report
        self._worker = worker
        self._reaps_all = prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._code: int | None = None
        self._main = 0
        woken, wakes = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wakes, False)
        self._woken = woken
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _note)  # the lifeline alone ends it
        self._poller = select.poll()
        self._poller.register(woken, select.POLLIN)
        self._poller.register(lifeline, select.POLLIN)
        with contextlib.suppress(OSError, AttributeError):
            self._poller.register(os.pidfd_open(worker), select.POLLIN)

    def run(self, argv: list[str], env: dict[str, str], *, stop: int, stop_s: float) -> None:
        """From the command's start until nothing of it is left.

        Args:
            argv: the program and its arguments.
            env: all variables of its process.
            stop: number of the signal that asks it to end; who is left `stop_s` seconds later is killed.
        """
        keeper = os.getpid()

        def die_with_keeper() -> None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != keeper:
                os._exit(1)

        try:
            started = subprocess.Popen(  # noqa: S603 -- the command is configuration
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=die_with_keeper,
            )
        except (OSError, ValueError) as error:
            self._tell({"errno": getattr(error, "errno", None) or 0, "why": str(error)})
            return
        self._main = started.pid
        self._tell({"pid": started.pid})
        while self._code is None and (order := self._order(LOOK_S)) is None:
            self._reap()
        if self._code is not None:
            left = [process for process in descendants(os.getpid()) if not process.is_zombie]
            self._tell({"ended": self._code, "left": len(left)})
        elif order == STOP:
            self._ask_to_end(stop, within_s=stop_s)
        self._kill_all()

    def _order(self, timeout_s: float) -> bytes | None:
        """An order of the worker, KILL if there is no worker any more; None = go on."""
        ready = {fd for fd, _ in self._poller.poll(round(1000 * timeout_s))}
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
        if os.getppid() != self._worker:
            return KILL
        if self._lifeline in ready:
            return os.read(self._lifeline, 1) or KILL
        return None

    def _ask_to_end(self, number: int, *, within_s: float) -> None:
        """Signal all, and wait while any of them is left, `within_s` at most or until told otherwise."""
        self._signal_all(number)
        until = time.monotonic() + within_s
        while self._reap() and time.monotonic() < until:
            if self._order(min(ROUND_S, within_s)) == KILL:
                return

    def _kill_all(self) -> None:
        """Rounds of SIGKILL until the kernel knows of no process below this one."""
        while True:
            self._signal_all(signal.SIGKILL)
            if not self._reap():
                return
            time.sleep(ROUND_S)

    def _signal_all(self, number: int) -> None:
        for process in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)
        if not self._reaps_all:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._main, number)

    def _reap(self) -> bool:
        """Note who ended; True while children are left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._main:
                self._code = os.waitstatus_to_exitcode(status)

    def _tell(self, what: dict[str, object]) -> None:
        with contextlib.suppress(OSError):
            os.write(self._report, json.dumps(what).encode() + b"\n")


class Running(NamedTuple):
    """A process that the kernel lists. `is_zombie`: it ended, though perhaps not all of its threads."""

    pid: int
    parent: int
    is_zombie: bool


def descendants(pid: int) -> list[Running]:
    """Processes below one, parents first; none where the system does not tell."""
    children: dict[int, list[Running]] = {}
    for process in _processes():
        children.setdefault(process.parent, []).append(process)
    found: list[Running] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += [process.pid for process in below]
    return found


def _processes() -> Iterator[Running]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            state, parent = stat.read_bytes().rpartition(b")")[2].split()[:2]
            yield Running(int(stat.parent.name), int(parent), state in (b"Z", b"X"))


def _note(number: int, frame: object) -> None:
    """Handler of signals that only wake."""


def main(lifeline: int, report: int, worker: int) -> None:
    """One command kept, as standard input tells: `argv`, `env`, `stop` and `stop_s`.

    Args:
        lifeline, report, worker: as of `Keeper`.
    """
    told = json.load(sys.stdin)
    Keeper(lifeline, report, worker).run(told["argv"], told["env"], stop=told["stop"], stop_s=told["stop_s"])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
