"""Calibration as a drawing: what stands on the diagonal, and who is drawn."""

import pytest

from api.dashboard.calibration import LEFT, SIDE, TOP, plot, plots
from orchestrator.evaluation.compositions import CompositionRow
from orchestrator.evaluation.statistics import CalibrationBin


def row(name: str, *bins: CalibrationBin) -> CompositionRow:
    return CompositionRow(
        name=name,
        kind="ensemble",
        accuracy=0.5,
        ci95=(0.4, 0.6),
        seconds=1.0,
        gflop_per_query=None,
        calls_per_query=1.0,
        calibration=bins,
    )


def test_answers_that_are_as_sure_as_they_are_right_stand_on_the_diagonal() -> None:
    [low, high] = plot(
        row("auto", CalibrationBin(0.2, 0.2, 0.1, 0.3, 20), CalibrationBin(1, 1, 0.8, 1, 20))
    ).dots
    assert (low.x - LEFT) / SIDE == 0.2
    assert (low.x - LEFT) + (low.y - TOP) == SIDE
    assert (high.x, high.y) == (LEFT + SIDE, TOP)


def test_an_interval_stands_around_its_dot() -> None:
    [dot] = plot(row("auto", CalibrationBin(0.9, 0.5, 0.4, 0.7, 31))).dots
    assert dot.high_y < dot.y < dot.low_y
    assert dot.title == "31 answers that were 90 % sure: 50 % right (40 % to 70 %)"


def test_who_states_no_confidence_has_no_plot() -> None:
    sure = row("sure", CalibrationBin(0.9, 0.5, 0.4, 0.7, 31))
    assert [drawn.name for drawn in plots([row("mute"), sure])] == ["sure"]


def test_the_error_is_the_mean_distance_of_answers_from_the_diagonal() -> None:
    """30 answers 0.1 off and 10 answers 0.3 off: (3 + 3) / 40."""
    drawn = plot(row("auto", CalibrationBin(0.5, 0.6, 0.4, 0.7, 30), CalibrationBin(0.9, 0.6, 0.4, 0.7, 10)))
    assert drawn.distance == pytest.approx(0.15)
