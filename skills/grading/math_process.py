"""Compares LaTeX expressions in a child process that can be killed.

math-verify limits its time with SIGALRM, which works in a main thread only and cannot interrupt one
long integer power. So a child does the comparing: workers and the API may call from any thread, and
`9^{9^{9^9}}` costs a time-out, not the service.
"""

import atexit
import json
import logging
import os
import select
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

_CHILD = Path(__file__).with_name("math_child.py")


class MathProcess:
    """Starts its child at the first comparison and again after a time-out; thread-safe.

    Args:
        timeout_s: for one comparison, > 0; an expression that takes longer equals nothing else.
        start_timeout_s: for the child's imports.
        child: the script that compares.
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
        self.same = lru_cache(maxsize=20_000)(self._same)

    def _same(self, a: str, b: str) -> bool:
        """Whether two expressions have the same value; symmetric."""
        with self._lock:
            reply = self._ask(json.dumps([a, b]).encode() + b"\n")
        return reply == b"true"

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
            logger.warning("comparing two expressions took over %.1f s; taken as different", self._timeout_s)
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
            logger.error("the expression comparer did not start; is math-verify installed?")
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
        """End the child; idempotent. The next comparison starts another."""
        with self._lock:
            self._stop()
