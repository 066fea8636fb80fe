"""Time, passed in."""

from typing import Protocol


class Clock(Protocol):
    """Seconds, monotonic, from an arbitrary start; tests and the simulator pass their own."""

    def __call__(self) -> float: ...


class EpochClock(Protocol):
    """Seconds since the epoch, as the database counts them; it may be set back."""

    def __call__(self) -> float: ...
