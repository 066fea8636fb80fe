"""Signs of life of a server, and its silence under calls."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.ports.clock import Clock


class Pulse:
    """Counts as silence only time in which a call was with the server: not that in which calls wait on our
    side, for a breaker, a limit or the next attempt. For any number of threads; seconds by `clock`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._heard_at = self._since = clock()
        self._silent_s = 0.0
        self._n_calls = 0

    @property
    def heard_at(self) -> float:
        """Time of the last sign of life by the clock, seconds; at first that of the beginning."""
        return self._heard_at

    @property
    def silent_s(self) -> float:
        """Time that calls were with it since it last gave a sign, or since `forget`; seconds, >= 0."""
        with self._lock:
            return self._silence()

    def beat(self) -> None:
        """A sign of life, now."""
        self.forget()
        self._heard_at = self._clock()

    def forget(self) -> None:
        """Count the silence from now on."""
        with self._lock:
            self._silent_s, self._since = 0.0, self._clock()

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call is with the server meanwhile."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            self._silent_s, self._since = self._silence(), self._clock()
            self._n_calls += more

    def _silence(self) -> float:
        return self._silent_s + (self._clock() - self._since if self._n_calls else 0.0)
