"""Rates of calls in one process."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from orchestrator.ports.rates import Room

MINUTE_S = 60.0
MOST_NAMES = 100_000


class LocalRates:
    """Limits per minute, counted in this process only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, *, per_minute: int, cost: float, anyhow: bool = False) -> Room:
        now = self._clock()
        with self._lock:
            left, at = self._taken.pop(name, (float(per_minute), now))
            left = min(per_minute, left + (now - at) * per_minute / MINUTE_S)
            has_room = anyhow or left >= 1
            left -= cost if has_room else 0
            self._taken[name] = (left, now)
            while len(self._taken) > MOST_NAMES:
                self._taken.popitem(last=False)
        return Room(has_room, left)

    def close(self) -> None:
        """Nothing is open."""
