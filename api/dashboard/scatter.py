"""Accuracy over compute as a drawing: one point a composition, with its interval, and the Pareto front."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from api.digits import digits
from orchestrator.evaluation.compositions import CompositionRow

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 900.0, 420.0, 56.0, 46.0, 14.0, 150.0
"""Units of the drawing, and its margins."""
MARK = 6.0
LINE = 15.0
"""Least distance of two names, one below the other."""


Axis = Callable[[float], float]
"""Place of a value on an axis."""


class Point(NamedTuple):
    """A composition: its place, the ends of its 95 % interval, and where its name stands."""

    name: str
    kind: str
    x: float
    y: float
    low_y: float
    high_y: float
    label_y: float
    on_front: bool
    title: str


class Mark(NamedTuple):
    at: float
    text: str


class Scatter(NamedTuple):
    points: Sequence[Point]
    front: str
    """Points of the front's line, as SVG has them."""
    x_ticks: Sequence[Mark]
    y_ticks: Sequence[Mark]


def scatter(rows: Sequence[CompositionRow], *, by_seconds: bool) -> Scatter | None:
    """Rows over gigaflop a question, or over seconds of the run, logarithmic; None = the cost of none is
    known."""
    costs = [(row.seconds if by_seconds else row.gflop_per_query) or 0.0 for row in rows]
    known = [(row, cost) for row, cost in zip(rows, costs, strict=True) if cost > 0]
    if not known:
        return None
    low, high = min(cost for _, cost in known) / 1.4, max(cost for _, cost in known) * 1.4
    least = max(0.0, min(row.ci95[0] for row, _ in known) - 0.03)
    most = min(1.0, max(row.ci95[1] for row, _ in known) + 0.03)

    def x(cost: float) -> float:
        share = math.log(cost / low) / math.log(high / low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(accuracy: float) -> float:
        return TOP + (most - accuracy) / max(most - least, 1e-9) * (HEIGHT - TOP - BOTTOM)

    points = [
        Point(
            row.name,
            row.kind,
            x(cost),
            y(row.accuracy),
            y(row.ci95[0]),
            y(row.ci95[1]),
            0.0,
            row.on_seconds_front if by_seconds else row.on_front,
            f"{row.name}: {100 * row.accuracy:.1f} % ({100 * row.ci95[0]:.1f} to {100 * row.ci95[1]:.1f}), "
            + (f"{cost:.1f} s" if by_seconds else f"{digits(cost, 3)} gigaflop a question"),
        )
        for row, cost in known
    ]
    front = sorted((p for p in points if p.on_front), key=lambda p: p.x)
    return Scatter(_named(points), _steps(front), _decades(low, high, x), _shares(least, most, y))


def _named(points: Sequence[Point]) -> list[Point]:
    """Points with places of their names, which keep apart from one another."""
    placed: list[Point] = []
    last = -LINE
    for point in sorted(points, key=lambda p: p.y):
        last = max(point.y, last + LINE)
        placed.append(point._replace(label_y=min(last, HEIGHT - BOTTOM)))
    return placed


def _steps(front: Sequence[Point]) -> str:
    corners: list[str] = []
    for index, point in enumerate(front):
        if index:
            corners.append(f"{point.x:.1f},{front[index - 1].y:.1f}")
        corners.append(f"{point.x:.1f},{point.y:.1f}")
    return " ".join(corners)


def _decades(low: float, high: float, x: Axis) -> list[Mark]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [t * 10.0**d for d in range(first, last + 1) for t in (1, 2, 5)]
    return [Mark(x(tick), f"{tick:g}") for tick in ticks if low <= tick <= high]


def _shares(least: float, most: float, y: Axis) -> list[Mark]:
    step = 0.1 if most - least > 0.35 else 0.05 if most - least > 0.15 else 0.02
    first = math.ceil(least / step)
    return [Mark(y(n * step), f"{100 * n * step:.0f} %") for n in range(first, int(most / step) + 1)]
