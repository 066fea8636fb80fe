"""Ways to combine experts as a picture: accuracy over operations and over seconds, with both fronts."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from api.pictures.parts import (
    GREY,
    LABEL_SIZE,
    LEADER,
    make_bare,
    new_figure,
    place_labels,
    saved,
    set_title,
)
from orchestrator.evaluation.compositions import KINDS, CompositionRow, CompositionsReport, Kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMPOSITIONS = "compositions.png"
MARKS: dict[Kind, tuple[str, str]] = {
    "single": ("o", "#6b6b6b"),
    "ensemble": ("s", "#1f5fa8"),
    "fusion": ("^", "#b3261e"),
    "merge": ("D", "#2e7d32"),
}
"""Marker and colour by kind: shapes, for those who do not tell the colours apart."""
ROOM = 3.0
"""Factor by which the axis goes on at the right of the last point, for names."""


class _Point(NamedTuple):
    row: CompositionRow
    cost: float
    on_front: bool


def save_compositions(out: Path, report: CompositionsReport, *, subtitle: str) -> list[Path]:
    """Write the picture; a measure of cost that is known of no row is left out."""
    out.mkdir(parents=True, exist_ok=True)
    by_flop = [_Point(r, r.gflop_per_query, r.on_front) for r in report.rows if r.gflop_per_query is not None]
    by_time = [_Point(r, r.seconds, r.on_seconds_front) for r in report.rows]
    panels = [
        (title, points)
        for title, points in (
            ("gigaflop a question, all forward passes (logarithmic)", by_flop),
            (f"seconds for {report.n_queries} questions, loads included (logarithmic)", by_time),
        )
        if any(point.cost > 0 for point in points)
    ]
    figure = new_figure(6.6 * len(panels), max(4.8, 0.24 * len(report.rows) + 2.8))
    for axes, (label, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _panel(axes, [point for point in points if point.cost > 0], label)
    handles, labels = figure.axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8.5, frameon=False)
    set_title(figure.axes[0], "Accuracy over compute", subtitle)
    return [saved(figure, out / COMPOSITIONS)]


def _panel(axes: "Axes", points: Sequence[_Point], label: str) -> None:
    front = sorted((point for point in points if point.on_front), key=lambda point: point.cost)
    axes.step(
        [point.cost for point in front],
        [100 * point.row.accuracy for point in front],
        where="post",
        color=GREY,
        lw=1.1,
        alpha=0.7,
        zorder=1,
        label="best for so much compute (Pareto front)",
    )
    for kind in KINDS:
        _draw(axes, kind, [point for point in points if point.row.kind == kind])
    _scale(axes, [point.cost for point in points])
    _name(axes, points)
    axes.set_xlabel(label, fontsize=9.5)
    axes.set_ylabel("accuracy, %  (bars: 95 % interval)", fontsize=9.5)
    make_bare(axes)
    axes.grid(axis="y", color="#ececec", lw=0.7)
    axes.set_axisbelow(True)


def _draw(axes: "Axes", kind: Kind, points: Sequence[_Point]) -> None:
    marker, colour = MARKS[kind]
    for number, point in enumerate(points):
        value, low, high = (100 * share for share in (point.row.accuracy, *point.row.ci95))
        axes.errorbar(
            point.cost,
            value,
            yerr=[[value - low], [high - value]],
            fmt=marker,
            color=colour,
            ecolor=colour,
            elinewidth=0.8,
            ms=7 if point.on_front else 5,
            alpha=1.0 if point.on_front else 0.55,
            zorder=3,
            label=kind if number == 0 else None,
        )


def _scale(axes: "Axes", costs: Sequence[float]) -> None:
    """Logarithmic, ticks as plain numbers (1, 2 and 5 of each decade)."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    low, high = min(costs) / 1.3, max(costs) * ROOM
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [t * 10.0**d for d in decades for t in (1, 2, 5) if low <= t * 10.0**d <= high]
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{tick:g}" for tick in ticks])


def _name(axes: "Axes", points: Sequence[_Point]) -> None:
    """Names right of their points, in the colour of their kind; where points crowd, with thin leaders."""
    axes.margins(y=0.1)
    axes.autoscale_view(scalex=False)
    to_axes = axes.transData + axes.transAxes.inverted()
    by_name = {point.row.name: point for point in points}
    spots = {
        name: tuple(to_axes.transform((point.cost, 100 * point.row.accuracy)).tolist())
        for name, point in by_name.items()
    }
    for label in place_labels(spots):
        point = by_name[label.name]
        axes.annotate(
            label.name,
            xy=label.at,
            xytext=label.place,
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=LABEL_SIZE,
            color=MARKS[point.row.kind][1],
            fontweight="bold" if point.on_front else "normal",
            arrowprops=LEADER,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
            zorder=5,
        )
