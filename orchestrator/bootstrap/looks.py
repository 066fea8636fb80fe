"""Looks at checks that may take long: done in a thread, and waited for as long as the looker likes."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from orchestrator.domain.diagnoses import Diagnosis
from orchestrator.ports.clock import Clock

FRESH_S = 10.0

Check = Callable[[], Diagnosis]
"""A check that never raises."""


class Findings(NamedTuple):
    """Findings of checks, in their order. `pending`: names of checks that the look has not come to; what was
    found of them, if anything, is of the look before."""

    found: list[Diagnosis]
    pending: tuple[str, ...] = ()


class Looks:
    """Looks at the same checks again and again; however many ask at once, one look goes on.

    Args:
        checks: by name; asked for anew for each look.
        fresh_s: for so long after its end a look is not made again: an open page asks every few seconds.
    """

    def __init__(
        self,
        checks: Callable[[], Mapping[str, Check]],
        *,
        fresh_s: float = FRESH_S,
        clock: Clock = time.monotonic,
    ) -> None:
        self._checks = checks
        self._fresh_s = fresh_s
        self._clock = clock
        self._ended_at = -math.inf
        self._lock = threading.Lock()
        self._ended: threading.Event | None = None
        self._found: dict[str, Diagnosis] = {}
        self._pending: tuple[str, ...] = ()

    def look(self, within_s: float) -> Findings:
        """Findings of a look that begins now, or has begun and goes on, or has just ended.

        Args:
            within_s: >= 0; after so long the answer is what is known by then.
        """
        checks = self._checks()
        with self._lock:
            is_fresh = self._clock() - self._ended_at < self._fresh_s
            ended = self._ended or (None if is_fresh else self._begin(checks))
        if ended is not None:
            ended.wait(within_s)
        with self._lock:
            found = [self._found[name] for name in checks if name in self._found]
            return Findings(found, self._pending)

    def _begin(self, checks: Mapping[str, Check]) -> threading.Event:
        ended = self._ended = threading.Event()
        self._pending = tuple(checks)
        threading.Thread(target=self._run, args=(checks, ended), name="muster-look", daemon=True).start()
        return ended

    def _run(self, checks: Mapping[str, Check], ended: threading.Event) -> None:
        try:
            for name, check in checks.items():
                found = check()
                with self._lock:
                    self._found[name] = found
                    self._pending = self._pending[1:]
        finally:
            with self._lock:
                self._ended, self._ended_at = None, self._clock()
            ended.set()
