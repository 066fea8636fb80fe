"""The worker's handle on a command that runs: started by a keeper, which ends it with the worker."""

import contextlib
import json
import logging
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

from orchestrator.redaction import redact
from workers.backends.command import keeper
from workers.backends.command.keeper import descendants
from workers.backends.command.tree import carriers, memory_gib, uses_card
from workers.engine_host.signals import named

logger = logging.getLogger(__name__)

MARK = "KEPT_BY_MUSTER"
"""Variable of the command's environment whose value no other process has."""
START_S = 60.0
"""Longest time until the keeper tells of the command's start."""
KEPT_BYTES = 65_536
"""Bytes of output that are kept."""
SHOWN_LINES, SHOWN_CHARS = 4, 400
_CAUSES = (re.compile(r"\w(?:Error|Exception): \S"), re.compile(r"\b(?:error|fatal)\b", re.IGNORECASE))
"""Signs of a line that tells why, the surest first; later lines often only hand on the news of it."""
_MILDER = re.compile(r"\b(?:DEBUG|INFO|WARN|WARNING)\b")
KILL_S = 10.0
"""Longest wait for the end of what was killed: the kernel may be at work for it."""
_NO_SUCH = frozenset({2, 8, 13, 20})
"""ENOENT, ENOEXEC, EACCES, ENOTDIR: no wait makes a program of it."""
_CODES_OF_SHELLS = frozenset({126, 127})
"""Exit codes by which scripts say that there is no such program."""


class Launch(NamedTuple):
    """Way to run a command.

    Attributes:
        argv: the program and its arguments, as they are.
        env: its whole environment.
        stop: signal that asks for its end; `stop_s` is how long that may take, in seconds.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    stop: int = signal.SIGTERM
    stop_s: float = 10.0


class Ended(NamedTuple):
    """End of a command: its exit code, or minus the signal; None = its keeper was killed. `n_left`: processes
    that it had started and that went on."""

    code: int | None
    n_left: int = 0

    @property
    def is_lasting(self) -> bool:
        """True if no wait helps: the machine cannot run it, or it is not meant to stay in the foreground."""
        went_on = self.code == 0 and self.n_left > 0
        return went_on or self.code == -signal.SIGILL or self.code in _CODES_OF_SHELLS


class NoStartError(Exception):
    """A command that was not started; the message says why. `is_lasting`: no wait helps."""

    def __init__(self, message: str, *, is_lasting: bool) -> None:
        super().__init__(message)
        self.is_lasting = is_lasting


class CommandProcess:
    """A command, running or ended. Its output is read all the time, and the end of it kept.

    Attributes:
        pid: of the command.
        held_gib, peak_gib: host memory that it and all below it were last seen to hold, and the most of it.
        uses_card: they were seen to use a graphics card, whose memory is not measured.

    Raises:
        NoStartError: there is no such program, or it cannot be started.
    """

    def __init__(self, launch: Launch) -> None:
        self.held_gib = self.peak_gib = 0.0
        self.uses_card = False
        self._stop_s = launch.stop_s
        self._mark = secrets.token_hex(16)
        self._tail, self._n_begun = bytearray(), 0
        self._ended: Ended | None = None
        self._is_closed = False
        lifeline, self._lifeline = os.pipe()
        reports, report = os.pipe()
        script = str(Path(keeper.__file__).resolve())
        self._keeper = subprocess.Popen(  # noqa: S603 -- a script of ours
            [sys.executable, "-I", "-S", script, str(lifeline), str(report), str(os.getpid())],
            pass_fds=(lifeline, report),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.close(lifeline)
        os.close(report)
        self._reports = os.fdopen(reports, "rb")
        self._began = threading.Event()
        self._first: dict[str, object] = {}
        self._is_over = threading.Event()
        self._reader = threading.Thread(target=self._read_output, name="command-output", daemon=True)
        reports_reader = threading.Thread(target=self._read_reports, name="command-reports", daemon=True)
        self._threads = [self._reader, reports_reader]
        for thread in self._threads:
            thread.start()
        self.pid = self._start(launch)

    @property
    def ended(self) -> Ended | None:
        """The command's end; None while it runs."""
        return self._ended

    @property
    def keeper_pid(self) -> int:
        """Process that was started just before the command."""
        return self._keeper.pid

    @property
    def pids(self) -> list[int]:
        """Processes that run: the command and all that it started."""
        return [process.pid for process in descendants(self._keeper.pid)]

    def measure(self) -> None:
        """Look at the memory that they hold now."""
        pids = self.pids
        self.held_gib = memory_gib(pids)
        self.peak_gib = max(self.peak_gib, self.held_gib)
        self.uses_card = self.uses_card or any(map(uses_card, pids))

    def last_lines(self) -> str:
        """The end of its output in one line, without secrets; "" = it wrote nothing."""
        shown = " | ".join(self._lines()[-SHOWN_LINES:])
        return shown if len(shown) <= SHOWN_CHARS else f"…{shown[-SHOWN_CHARS:]}"

    def death(self, *, at_start: bool = False) -> str:
        """Cause of its end, in words, with the last lines that it wrote.

        Args:
            at_start: it did nothing but start: the first error that it told of is the cause.
        """
        ended, lines = self._ended, self.last_lines()
        wrote = f" Its last lines: {lines}" if lines else " It wrote nothing."
        if at_start and (cause := self._first_error()) not in lines:
            wrote = f" It said: {cause}.{wrote}"
        if ended is None or ended.code is None:
            return f"was ended with its keeper.{wrote}"
        if ended.code == -signal.SIGKILL:
            why = "was killed (signal 9), most likely because memory ran out; the kernel's log says so."
        elif ended.code == -signal.SIGILL:
            why = "was ended by signal 4 (SIGILL): this build uses an instruction that the processor lacks."
        elif ended.code < 0:
            why = f"was ended by signal {-ended.code}{named(-ended.code)}."
        elif ended.code == 0 and ended.n_left:
            why = (
                f"ended with code 0 while {ended.n_left} processes that it had started went on: it put "
                "itself into the background. Have it stay in the foreground."
            )
        else:
            why = f"ended with code {ended.code}."
        return why + wrote

    def _first_error(self) -> str:
        """The first line of what is kept that tells of one; "" = none does."""
        lines = [line for line in self._lines() if not _MILDER.search(line)]
        found = (line for sign in _CAUSES for line in lines if sign.search(line))
        return next(found, "")[:SHOWN_CHARS].rstrip(".")

    def _lines(self) -> list[str]:
        """What is kept of its output, without secrets and blank lines; all of it, if it has ended."""
        if self._ended is not None:
            self._is_over.wait(KILL_S)
            self._reader.join(KILL_S)  # what it wrote last may be in the pipe yet
        text = redact(bytes(self._tail).decode(errors="replace"))
        return [line.strip() for line in text.splitlines() if line.strip()]

    def stop(self) -> None:
        """Ask all of it to end and wait; kill what is left when the time is up. Idempotent."""
        self._end(keeper.STOP, self._stop_s + KILL_S)

    def kill(self) -> None:
        """End all of it at once. Idempotent."""
        self._end(keeper.KILL, KILL_S)

    def _end(self, order: bytes, within_s: float) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        with contextlib.suppress(OSError):  # the keeper is gone
            os.write(self._lifeline, order)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._keeper.wait(within_s)
        os.close(self._lifeline)
        if self._keeper.poll() is None:
            logger.warning("process %d: the kernel does not end all that it started yet", self.pid)
            return
        self._kill_unkept()
        for thread in self._threads:
            thread.join(KILL_S)

    def _start(self, launch: Launch) -> int:
        told = {
            "argv": list(launch.argv),
            "env": {**launch.env, MARK: self._mark},
            "stop": int(launch.stop),
            "stop_s": launch.stop_s,
        }
        assert self._keeper.stdin is not None
        with contextlib.suppress(OSError), self._keeper.stdin as pipe:
            pipe.write(json.dumps(told).encode())
        self._began.wait(START_S)
        pid = self._first.get("pid")
        if isinstance(pid, int):
            return pid
        lines = self.last_lines()
        self.pid = self._keeper.pid
        self._end(keeper.KILL, KILL_S)
        errno = self._first.get("errno")
        why = self._first.get("why") or lines or "its keeper ended"
        raise NoStartError(f"'{launch.argv[0]}' cannot be started: {why}.", is_lasting=errno in _NO_SUCH)

    def _read_output(self) -> None:
        """Keep the end of it, and log it, by whole lines: half of a secret would not be known as one."""
        assert self._keeper.stdout is not None
        begun, is_dropped = b"", False  # the line that has no end yet; one that is too long is dropped
        with self._keeper.stdout as pipe:
            while chunk := _chunk(pipe):
                if is_dropped:
                    _, end, chunk = chunk.partition(b"\n")
                    is_dropped = not end
                lines, end, begun = (begun + chunk).rpartition(b"\n")
                if len(begun) > KEPT_BYTES:
                    begun, is_dropped = b"", True
                    logger.debug("command %s: a line of more than %d bytes", self._mark[:8], KEPT_BYTES)
                self._log(lines)
                kept = bytes(self._tail[: len(self._tail) - self._n_begun]) + lines + end
                start = kept.find(b"\n", len(kept) - KEPT_BYTES) + 1 if len(kept) > KEPT_BYTES else 0
                self._n_begun = len(begun)
                self._tail = bytearray(kept[start:] + begun)
        self._log(begun)

    def _log(self, lines: bytes) -> None:
        if lines and logger.isEnabledFor(logging.DEBUG):
            logger.debug("command %s: %s", self._mark[:8], redact(lines.decode(errors="replace")))

    def _read_reports(self) -> None:
        with self._reports as pipe:
            for line in pipe:
                report = json.loads(line)
                if "ended" in report:
                    self._ended = Ended(report["ended"], report["left"])
                else:
                    self._first = report
                    self._began.set()
        # The keeper is gone, and all below it with it, unless somebody killed it.
        was_killed = self._keeper.wait() < 0
        if was_killed:
            self._kill_unkept()
        self._ended = self._ended or Ended(None)
        self._began.set()
        self._is_over.set()

    def _kill_unkept(self) -> None:
        """End what the keeper left when it was killed: whatever has the mark in its environment."""
        for pid in carriers(MARK, self._mark):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _chunk(pipe: IO[bytes]) -> bytes:
    try:
        return os.read(pipe.fileno(), KEPT_BYTES)
    except (OSError, ValueError):
        return b""
