"""Quiet: what is at work is told on stderr when nothing has been said for a while."""

import os
import sys
import threading
import time
from collections.abc import Callable

from orchestrator.ports.clock import Clock
from orchestrator.runtime.logs import FORMAT_VARIABLE

QUIET_S = 2.0
"""Seconds after which the first word is due."""
AGAIN_S = 12.0
"""Seconds without a word after which a further one is: progress of jobs comes more often."""

AT_WORK = "at work"


class Quiet:
    """A thread beside a command, from `begin` to `end`.

    Args:
        command: its name.
        write: given a line.
        heard_at: when somebody last wrote to stderr, by the clock.
    """

    def __init__(
        self,
        command: str,
        *,
        write: Callable[[str], object] | None = None,
        heard_at: Callable[[], float] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._command = command
        self._write = write or _to_stderr
        self._heard_at = heard_at or _written_at
        self._clock = clock
        self._began_at = clock()
        self._said_at = 0.0
        self._doing = AT_WORK
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def doing(self, what: str) -> None:
        """Say this from now on, should it take long."""
        self._doing = what

    def begin(self) -> None:
        """Start to watch; records for machines are not mixed with lines for people."""
        if os.environ.get(FORMAT_VARIABLE) != "json":
            self._thread = threading.Thread(target=self._run, name="muster-quiet", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Say nothing any more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> float:
        """Say what is at work if that is due; the seconds until it may be."""
        now = self._clock()
        last_at = max(self._heard_at(), self._said_at)
        due_at = self._began_at + QUIET_S if last_at < self._began_at else last_at + AGAIN_S
        if now < due_at:
            return due_at - now
        self._write(f"{self._command}: {self._doing}, {now - self._began_at:.0f} s\n")
        self._said_at = self._clock()
        return AGAIN_S

    def _run(self) -> None:
        while not self._ended.wait(self.look()):
            continue


def _written_at() -> float:
    return float(getattr(sys.stderr, "written_at", 0.0))


def _to_stderr(line: str) -> None:
    """Past what notes when somebody else wrote."""
    stream = getattr(sys.stderr, "inner", sys.stderr)
    if stream is not None:
        try:
            stream.write(line)
            stream.flush()
        except (OSError, ValueError):  # nobody reads it
            return
