"""Accuracy over compute as a drawing: what stands above, and what is left out."""

from itertools import pairwise

from api.dashboard.scatter import BOTTOM, HEIGHT, LEFT, LINE, RIGHT, TOP, WIDTH, scatter
from orchestrator.evaluation.compositions import CompositionRow


def row(
    name: str, accuracy: float, *, seconds: float, gflop: float | None, front: bool = False
) -> CompositionRow:
    return CompositionRow(
        name=name,
        kind="single",
        accuracy=accuracy,
        ci95=(max(0.0, accuracy - 0.05), min(1.0, accuracy + 0.05)),
        seconds=seconds,
        gflop_per_query=gflop,
        calls_per_query=1,
        on_front=front,
        on_seconds_front=front,
    )


ROWS = [
    row("dear", 0.9, seconds=100, gflop=10, front=True),
    row("cheap", 0.6, seconds=1, gflop=0.1, front=True),
    row("worse", 0.59, seconds=10, gflop=None),
]


def test_what_is_better_stands_higher_and_what_costs_more_stands_further_right() -> None:
    drawn = scatter(ROWS, by_seconds=True)
    assert drawn is not None
    at = {point.name: point for point in drawn.points}
    assert at["dear"].y < at["cheap"].y < at["worse"].y
    assert at["cheap"].x < at["worse"].x < at["dear"].x
    assert at["dear"].high_y < at["dear"].y < at["dear"].low_y


def test_much_work_is_told_without_an_exponent() -> None:
    drawn = scatter([row("large", 0.9, seconds=1, gflop=14_350), *ROWS[:2]], by_seconds=False)
    assert drawn is not None
    assert any("14,400 gigaflop" in point.title for point in drawn.points)


def test_equal_factors_of_cost_are_equal_distances() -> None:
    drawn = scatter(ROWS, by_seconds=True)
    assert drawn is not None
    at = {point.name: point.x for point in drawn.points}
    assert abs((at["worse"] - at["cheap"]) - (at["dear"] - at["worse"])) < 1e-6


def test_rows_of_unknown_cost_are_left_out() -> None:
    drawn = scatter(ROWS, by_seconds=False)
    assert drawn is not None
    assert {point.name for point in drawn.points} == {"dear", "cheap"}
    assert scatter([ROWS[2]], by_seconds=False) is None


def test_everything_stands_inside_and_names_keep_apart() -> None:
    drawn = scatter([*ROWS, row("same", 0.6, seconds=1, gflop=1)], by_seconds=True)
    assert drawn is not None
    for point in drawn.points:
        assert LEFT <= point.x <= WIDTH - RIGHT
        assert TOP <= point.high_y <= point.low_y <= HEIGHT - BOTTOM + 1e-6
    labels = sorted(point.label_y for point in drawn.points)
    assert all(later - sooner >= LINE - 1e-6 for sooner, later in pairwise(labels))


def test_the_front_is_a_line_of_steps_from_cheap_to_dear() -> None:
    drawn = scatter(ROWS, by_seconds=True)
    assert drawn is not None
    corners = [tuple(map(float, corner.split(","))) for corner in drawn.front.split()]
    assert len(corners) == 3
    assert corners[0][1] == corners[1][1]
    assert corners[1][0] == corners[2][0]
