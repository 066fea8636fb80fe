"""Time, passed in."""

from typing import Protocol


class Clock(Protocol):
    """Seconds, monotonic; tests and the simulator pass their own."""

    def __call__(self) -> float: ...
