"""A comparison as pictures: accuracy over calls, methods by domain, calibration of `auto`.

Drawn from the same trials for `muster bench` and `muster replay`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from api.pictures.heatmap import ink_on
from api.pictures.parts import (
    BLUE,
    GREY,
    LABEL_SIZE,
    LEADER,
    PALE,
    RED,
    make_bare,
    new_figure,
    place_labels,
    saved,
    set_title,
)
from orchestrator.evaluation.comparison import (
    AUTO,
    BEST_SINGLE,
    ECE_BINS,
    ORACLE,
    Floats,
    Ground,
    Summary,
    Trial,
    by_domain,
    pareto_front,
    summarise,
)
from orchestrator.evaluation.statistics import CalibrationBin, calibration_bins, calibration_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCURACY, DOMAINS, CALIBRATION = "accuracy_over_calls.png", "domains.png", "calibration.png"


def save_plots(out: Path, ground: Ground, trials: Sequence[Trial], *, subtitle: str) -> list[Path]:
    """Write the pictures that the trials allow; returns their paths.

    Domains need labels, calibration an `auto` that states confidences.
    """
    out.mkdir(parents=True, exist_ok=True)
    summaries = {trial.name: summarise(trial, ground) for trial in trials}
    figures = {ACCURACY: _accuracy_over_calls(summaries, subtitle)}
    if any(ground.domain):
        figures[DOMAINS] = _domains(ground, trials, summaries, subtitle)
    auto = next((trial for trial in trials if trial.name == AUTO), None)
    if auto is not None and not np.isnan(auto.confidence).all():
        figures[CALIBRATION] = _calibration(auto, subtitle)
    return [saved(figure, out / name) for name, figure in figures.items()]


def _accuracy_over_calls(summaries: Mapping[str, Summary], subtitle: str) -> "Figure":
    """The oracle is told in words: on the axis it would press all others together."""
    shown = {name: s for name, s in summaries.items() if name != ORACLE}
    figure = new_figure(9.5, max(5.0, 0.25 * len(shown) + 2.4))
    axes = figure.add_subplot()
    front = pareto_front({name: (s.calls, s.accuracy.value) for name, s in shown.items()})
    axes.step(
        [shown[name].calls for name in front],
        [100 * shown[name].accuracy.value for name in front],
        where="post",
        color=BLUE,
        lw=1.2,
        alpha=0.6,
        label="best for so many calls (Pareto front)",
        zorder=1,
    )
    for name, summary in shown.items():
        _point(axes, name, summary, on_front=name in front)
    _scale_calls(axes, [s.calls for s in shown.values()])
    _label_points(axes, shown, front)
    axes.set_ylabel("accuracy, %  (bars: 95 % interval)", fontsize=9.5)
    make_bare(axes)
    axes.grid(axis="y", color="#ececec", lw=0.7)
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", fontsize=8.5, frameon=False)
    set_title(axes, "Accuracy over calls", _with_oracle(subtitle, summaries))
    return figure


def _with_oracle(subtitle: str, summaries: Mapping[str, Summary]) -> str:
    if ORACLE not in summaries:
        return subtitle
    oracle = summaries[ORACLE]
    return f"{subtitle}; oracle (any expert right): {100 * oracle.accuracy.value:.1f} %"


def _point(axes: "Axes", name: str, summary: Summary, *, on_front: bool) -> None:
    value, low, high = (100 * v for v in summary.accuracy)
    colour = RED if name == AUTO else BLUE if on_front else GREY
    stands_out = name == AUTO or on_front
    axes.errorbar(
        summary.calls,
        value,
        yerr=[[value - low], [high - value]],
        fmt="D" if name == AUTO else "o",
        color=colour,
        ecolor=colour,
        elinewidth=1.6 if name == AUTO else 0.8,
        alpha=1.0 if stands_out else 0.4,
        ms=7 if name == AUTO else 5,
        zorder=4 if name == AUTO else 3 if on_front else 2,
    )


def _scale_calls(axes: "Axes", calls: Sequence[float]) -> None:
    """Logarithmic, with the ticks in numbers, and room for labels at the right."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    low, high = min(calls), max(calls)
    axes.set_xlim(low / 1.15, max(high, low * 2) * 1.75)
    ticks = [t for t in (1, 1.5, 2, 3, 4, 5, 7, 10, 14, 20, 30, 50, 100) if low / 1.15 <= t <= high * 1.75]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{tick:g}" for tick in ticks])
    axes.set_xlabel("different experts asked per question (logarithmic)", fontsize=9.5)


def _label_points(axes: "Axes", shown: Mapping[str, Summary], front: Sequence[str]) -> None:
    """Names right of their points; where points crowd, in a column with thin leaders."""
    axes.margins(y=0.08)
    axes.autoscale_view(scalex=False)
    to_axes = axes.transData + axes.transAxes.inverted()
    spots = {
        name: tuple(to_axes.transform((s.calls, 100 * s.accuracy.value)).tolist())
        for name, s in shown.items()
    }
    for label in place_labels(spots):
        emphasised = label.name == AUTO or label.name in front
        axes.annotate(
            label.name,
            xy=label.at,
            xytext=label.place,
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=LABEL_SIZE,
            color=RED if label.name == AUTO else BLUE if emphasised else "#333333",
            fontweight="bold" if label.name == AUTO else "normal",
            arrowprops=LEADER,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
            zorder=5,
        )


def _domains(
    ground: Ground, trials: Sequence[Trial], summaries: Mapping[str, Summary], subtitle: str
) -> "Figure":
    """Methods x domains; methods by accuracy. Colour: points above or below the best single expert, or the
    mean of all methods where that was not run."""
    table = by_domain(trials, ground)
    names = sorted(summaries, key=lambda n: (n == ORACLE, summaries[n].accuracy.value), reverse=True)
    columns = ["all", *table]
    values = np.array(
        [[100 * summaries[n].accuracy.value, *(100 * table[d][n] for d in table)] for n in names]
    )
    based = BEST_SINGLE in summaries
    base = values[names.index(BEST_SINGLE)] if based else values.mean(axis=0)
    against = "the best single expert" if based else "the mean of all rows"
    figure = new_figure(0.66 * len(columns) + 3.6, 0.34 * len(names) + 2.2)
    axes = figure.add_subplot()
    _draw_table(axes, values, values - base)
    axes.set_xticks(range(len(columns)), columns, rotation=38, ha="left", fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.xaxis.tick_top()
    axes.axvline(0.5, color="white", lw=3)
    axes.set_xlabel(f"accuracy, %; colour: points against {against}", fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle(f"Accuracy by domain — {subtitle}", fontsize=10.5, x=0.01, ha="left")
    return figure


def _draw_table(axes: "Axes", values: Floats, gains: Floats) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import TwoSlopeNorm

    # The oracle's gains would bleach all others.
    reach = max(1.0, float(np.quantile(np.abs(gains), 0.9)))
    colours, scale = colormaps["RdBu"], TwoSlopeNorm(0, -reach, reach)
    axes.imshow(gains, cmap=colours, norm=scale, aspect="auto")
    for row, column in np.ndindex(*values.shape):
        face = tuple(float(c) for c in colours(scale(gains[row, column])))
        axes.text(
            column,
            row,
            f"{values[row, column]:.0f}" if column else f"{values[row, column]:.1f}",
            ha="center",
            va="center",
            fontsize=8.5,
            color=ink_on(face),
        )


def _calibration(auto: Trial, subtitle: str) -> "Figure":
    stated = ~np.isnan(auto.confidence)
    confidence, right = auto.confidence[stated], auto.score[stated]
    figure = new_figure(6.4, 6.8)
    axes, below = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    _draw_bins(axes, calibration_bins(confidence, right, bins=ECE_BINS))
    ece = calibration_error(confidence, right, bins=ECE_BINS)
    axes.text(
        0.03, 0.95, f"ECE {ece:.3f}", transform=axes.transAxes, fontsize=12, va="top", fontweight="bold"
    )
    axes.legend(loc="lower right", fontsize=8.5, frameon=False)
    axes.set_ylabel("share that is right", fontsize=9.5)
    below.hist(confidence, bins=np.linspace(0, 1, 41), color=BLUE, alpha=0.6)
    below.set_ylabel("answers", fontsize=9.5)
    below.set_xlabel("stated confidence of auto", fontsize=9.5)
    for part in (axes, below):
        make_bare(part)
    set_title(axes, "Calibration of auto", subtitle)
    return figure


def _draw_bins(axes: "Axes", bins: Sequence[CalibrationBin]) -> None:
    axes.plot([0, 1], [0, 1], color=PALE, lw=1.2, zorder=1, label="perfect")
    means, shares = [b.confidence for b in bins], [b.right for b in bins]
    errors = np.array([[b.right - b.low for b in bins], [b.high - b.right for b in bins]])
    axes.errorbar(
        means,
        shares,
        yerr=errors,
        fmt="o-",
        color=BLUE,
        lw=1,
        elinewidth=0.9,
        ms=5,
        zorder=3,
        label=f"{len(bins)} bins of equal size, 95 % intervals",
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("auto")
