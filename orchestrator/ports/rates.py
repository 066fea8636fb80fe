"""Rates of calls, counted where all processes of a server see them."""

from typing import NamedTuple, Protocol


class Room(NamedTuple):
    """Room in a limit per minute, which fills evenly.

    Attributes:
        left: how much more may be taken now; below 0 where more was taken than there was.
        has_room: whether what was asked for was taken.
    """

    has_room: bool
    left: float


class RateLimiter(Protocol):
    """Limits per minute, by name."""

    def take(self, name: str, *, per_minute: int, cost: float, anyhow: bool = False) -> Room:
        """Take `cost` where at least 1 is left, and otherwise nothing; `anyhow`: even then. What costs more
        than is left is owed: it is waited for by those who come next. Never fails."""

    def close(self) -> None:
        """Close connections to where rates are counted; nothing is taken after that."""
