"""Children that have everything imported and wait for an engine."""

import threading
from collections.abc import Callable

from workers.engine_host.process import ChildProcess, Launch

STOP_S = 5.0


class SparePool:
    """Idle children of one launch: fresh ones started ahead, and used ones whose memory came back.

    Args:
        n_spares: fresh children to keep; at most one more child waits beside them.
        start: makes a child and returns at once; its imports run in the background.
    """

    def __init__(
        self, launch: Launch, *, n_spares: int, start: Callable[[Launch], ChildProcess] = ChildProcess
    ) -> None:
        self._launch = launch
        self._n_spares = n_spares
        self._start = start
        self._idle: list[ChildProcess] = []
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def n_idle(self) -> int:
        """Number of children that wait, those included that died while they waited."""
        return len(self._idle)

    def take(self) -> ChildProcess:
        """A child to load into: a used one before a fresh one, so that the fresh one is left for a crash.

        Raises:
            EngineLoadError: a new one was needed and could not be started.
        """
        with self._lock:
            while self._idle:
                child = max(self._idle, key=lambda child: child.n_loads)
                self._idle.remove(child)
                if child.is_alive:
                    return child
                child.kill()
        return self._start(self._launch)

    def give_back(self, child: ChildProcess) -> None:
        """Keep a child whose engine is gone, if there is room; otherwise end it."""
        with self._lock:
            keep = child.is_alive and not self._is_closed and len(self._idle) <= self._n_spares
            if keep:
                self._idle.append(child)
        if not keep:
            child.stop(STOP_S)

    def replenish(self, *, n_coming: int = 0) -> None:
        """Start the spares that are missing; `n_coming` children will be given back before long.

        Raises:
            EngineLoadError: they cannot be started.
        """
        with self._lock:
            while not self._is_closed and len(self._idle) + n_coming < self._n_spares:
                self._idle.append(self._start(self._launch))

    def close(self) -> None:
        """End all of them. Idempotent."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for child in idle:
            child.kill()
