"""Parts that pictures of a comparison share: figures, titles, colours, and names beside their points."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from api.pictures.heatmap import DPI

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, GREY, RED, PALE = "#1f5fa8", "#6b6b6b", "#b3261e", "#c9c9c9"
LABEL_SIZE = 8.5
LEADER = {"arrowstyle": "-", "lw": 0.5, "color": "#9a9a9a", "shrinkA": 2, "shrinkB": 3, "relpos": (0, 0.5)}
TOP = 0.985
LINE_SHARE = 0.037
"""Height of a line of labels, as a share of the axes."""


def saved(figure: "Figure", path: Path) -> Path:
    """Write a PNG; returns its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).print_png(path)
    return path


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure. Args: width, height: inches."""
    from matplotlib.figure import Figure

    # A figure of its own, not pyplot's: no global state.
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def set_title(axes: "Axes", title: str, subtitle: str) -> None:
    """A title in bold and a line below it, at the left."""
    axes.set_title(f"{title}\n", fontsize=12, loc="left", fontweight="bold")
    axes.text(0, 1.015, subtitle, transform=axes.transAxes, fontsize=8.5, color=GREY, va="bottom")


def make_bare(axes: "Axes") -> None:
    """Take off the frame's upper and right side."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


class Label(NamedTuple):
    """A name beside its point; `at` and `place` are shares of the axes' width and height."""

    name: str
    at: tuple[float, float]
    place: tuple[float, float]


def place_labels(
    spots: Mapping[str, tuple[float, float]], *, line: float = LINE_SHARE, near: float = 0.08
) -> Iterator[Label]:
    """Places for names so that no two of one column overlap.

    Points closer than `near` in x make a column at the right of its rightmost point; within it names keep
    the order of their points and stand at least `line` apart, as near to them as that allows.

    Args:
        spots: points as shares of the axes, in [0, 1].
    """
    left_to_right = sorted(spots, key=lambda name: spots[name])
    columns: list[list[str]] = []
    for name in left_to_right:
        if columns and spots[name][0] - spots[columns[-1][-1]][0] < near:
            columns[-1].append(name)
        else:
            columns.append([name])
    for column in columns:
        upward = sorted(column, key=lambda name: spots[name][1])
        heights = spread([spots[name][1] for name in upward], gap=line)
        # A name alone stands a little higher, clear of a line that goes through its point.
        right, up = (0.05, 0.0) if len(column) > 1 else (0.02, 0.022)
        x = max(spots[name][0] for name in column) + right
        for name, height in zip(upward, heights, strict=True):
            yield Label(name, spots[name], (x, height + up))


def spread(heights: Sequence[float], *, gap: float) -> list[float]:
    """Ascending heights moved as little as needed (least squares) to stand `gap` apart, and then into
    [0, `TOP`] while there is room.

    Pools of neighbours that would collide are spread evenly about their mean (isotonic regression).
    """
    pools: list[list[float]] = []  # each holds heights less what its members stand above its first
    for i, height in enumerate(heights):
        pools.append([height - i * gap])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    level = [float(np.mean(pool)) for pool in pools for _ in pool]
    placed = [base + i * gap for i, base in enumerate(level)]
    highest = len(placed) - 1
    lowered = [min(height, TOP - (highest - i) * gap) for i, height in enumerate(placed)]
    return [max(height, i * gap) for i, height in enumerate(lowered)]
