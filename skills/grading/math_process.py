"""Reads LaTeX expressions in a child process that can be killed.

The parser of math-verify is not bounded in time, nor is the algebra that follows; a signal works in a main
thread only and cannot interrupt one long integer power. So a child does it: workers and the API may call from
any thread, and `9^{9^{9^9}}` costs a time-out, not the service.
"""

import atexit
import json
import logging
import os
import select
import subprocess
import sys
import threading
from collections import OrderedDict
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

_CHILD = Path(__file__).with_name("math_child.py")


MAX_CACHED = 20_000


class MathProcess:
    """Starts its child at the first expression and again after a time-out; thread-safe.

    Args:
        timeout_s: for one expression, > 0; one that takes longer has no key, until it is asked for again.
        start_timeout_s: for the child's imports.
        child: the script that reads.
    """

    def __init__(
        self, *, timeout_s: float = 5.0, start_timeout_s: float = 120.0, child: Path = _CHILD
    ) -> None:
        self._script = child
        self._timeout_s = timeout_s
        self._start_timeout_s = start_timeout_s
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._known: OrderedDict[str, str | None] = OrderedDict()

    def key(self, expression: str) -> str | None:
        """A text that all expressions of the same value share; None where it cannot be read, or not in time.

        The last answers are kept; that there was no time is not.
        """
        with self._lock:
            if expression in self._known:
                self._known.move_to_end(expression)
                return self._known[expression]
            reply = self._ask(json.dumps(expression).encode() + b"\n")
            if reply is None:
                return None
            found = json.loads(reply)
            self._known[expression] = found if isinstance(found, str) else None
            if len(self._known) > MAX_CACHED:
                self._known.popitem(last=False)
            return self._known[expression]

    def _ask(self, line: bytes) -> bytes | None:
        child = self._running()
        if child is None or child.stdin is None:
            return None
        try:
            child.stdin.write(line)
            child.stdin.flush()
        except OSError:
            self._stop()
            return None
        reply = self._reply(child, self._timeout_s)
        if reply is None:
            logger.warning(
                "an expression took over %.1f s to read; it equals nothing this time", self._timeout_s
            )
            self._stop()
        return reply

    def _running(self) -> subprocess.Popen[bytes] | None:
        # A forked copy of this process must not share the pipes with its parent.
        if self._child is not None and self._owner == os.getpid() and self._child.poll() is None:
            return self._child
        self._stop()
        child = subprocess.Popen(  # noqa: S603  (our own file, no shell; expressions travel as data)
            [sys.executable, "-I", str(self._script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._child, self._owner = child, os.getpid()
        atexit.register(self.close)
        if self._reply(child, self._start_timeout_s) != b"ready":
            logger.error("the reader of expressions did not start; is math-verify installed?")
            self._stop()
            return None
        return child

    def _reply(self, child: subprocess.Popen[bytes], timeout_s: float) -> bytes | None:
        stdout: IO[bytes] | None = child.stdout
        if stdout is None or not select.select([stdout], [], [], timeout_s)[0]:
            return None
        return stdout.readline().strip() or None

    def _stop(self) -> None:
        child, self._child = self._child, None
        atexit.unregister(self.close)
        if child is None or self._owner != os.getpid():
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()

    def close(self) -> None:
        """End the child; idempotent. The next expression starts another."""
        with self._lock:
            self._stop()
