"""Calibration as a drawing: how often answers were right over how sure they said they were."""

from collections.abc import Sequence
from typing import NamedTuple

from api.dashboard.rendering import percent
from orchestrator.evaluation.compositions import CompositionRow

SIDE, LEFT, TOP = 200.0, 40.0, 8.0
"""Units of the square, and its margins; the axes go from 0 to 100 %."""


class Dot(NamedTuple):
    """Answers of similar confidence: their place, the ends of the 95 % interval, and how they are told."""

    x: float
    y: float
    low_y: float
    high_y: float
    title: str


class Plot(NamedTuple):
    """Calibration of one composition. `distance`: mean distance of the answers from the diagonal; 0 = as sure
    as it is right. No ECE (`statistics.calibration_error`): bins of that divide equal confidences."""

    name: str
    distance: float
    dots: Sequence[Dot]
    line: str
    """Points of the line through the dots, as SVG has them."""


def plots(rows: Sequence[CompositionRow]) -> list[Plot]:
    """Plots of the rows that state confidences, in their order."""
    return [plot(row) for row in rows if row.calibration]


def plot(row: CompositionRow) -> Plot:
    """The plot of one row."""
    dots = [
        Dot(
            _x(part.confidence),
            _y(part.right),
            _y(part.low),
            _y(part.high),
            f"{part.n} answers that were {percent(part.confidence)} sure: {percent(part.right)} right "
            f"({percent(part.low)} to {percent(part.high)})",
        )
        for part in row.calibration
    ]
    n = sum(part.n for part in row.calibration)
    distance = sum(part.n * abs(part.confidence - part.right) for part in row.calibration) / n
    return Plot(row.name, distance, dots, " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in dots))


def _x(share: float) -> float:
    return LEFT + share * SIDE


def _y(share: float) -> float:
    return TOP + (1 - share) * SIDE
