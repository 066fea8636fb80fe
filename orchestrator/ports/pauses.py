"""Pauses of experts, as the books keep them."""

from collections.abc import Sequence
from typing import Protocol

from orchestrator.domain.pauses import ExpertPause


class PauseReader(Protocol):
    """Reads who is paused."""

    def pauses(self) -> Sequence[ExpertPause]:
        """Experts that are paused now, by id."""


class PauseStore(PauseReader, Protocol):
    """Pauses that every process of a stack sees, and that outlive it."""

    def pause(self, expert_id: str, *, reason: str) -> None:
        """Pause an expert; one that is paused stays so since when it was, for the new reason."""

    def resume(self, expert_id: str) -> bool:
        """End a pause; False = there was none."""
