"""Settings of shots: solved questions that experts are shown before the one that they are asked."""

from typing import Literal

from pydantic import Field

from orchestrator.settings.section import Section


class ShotSettings(Section):
    """Shots of a composition (docs/shots.md). `floor` and `least_confidence` in [0, 1]."""

    taken_from: Literal["profile", "memory"] = "profile"
    """`profile`: profile questions that an expert answered right. `memory`: questions that the same key asked
    before, and whose answers were judged right by its user, or were sure enough."""
    k: int = Field(default=3, ge=1, le=16)
    """Most shots of one call."""
    floor: float = Field(default=0.2, ge=-1, le=1)
    """Least cosine similarity of a shot's question to the one that is asked."""
    max_chars: int = Field(default=2000, ge=1, le=100_000)
    """Longest shot, question and reply together."""
    least_confidence: float = Field(default=0.9, ge=0, le=1)
    """Least confidence of an answer that nobody judged, for `memory`."""
    half_life_days: float = Field(default=30, gt=0, le=10_000)
    """Age at which the similarity of a remembered question counts half, for `memory`."""
