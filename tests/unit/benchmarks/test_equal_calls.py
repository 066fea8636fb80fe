from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aggregators.outputs import AGGREGATORS
from benchmarks.outputs import (
    ROWS,
    ZOO,
    Row,
    at_equal_calls,
    compared,
    compositions,
    spread,
    winners,
    write_pool,
)
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings

KEPT = ("first", "graded", "majority", "weighted", "learned", "verifiers")
"""Aggregators that ask for nothing; baselines are among them."""

FAMILY = {1: np.array([0.0, 0.0]), 2: np.array([1.0, 0.0]), 3: np.array([1.0, 1.0])}


def test_between_whole_numbers_of_calls_the_neighbours_are_mixed() -> None:
    assert at_equal_calls(2.25, FAMILY).tolist() == [1, 0.25]
    assert at_equal_calls(3, FAMILY).tolist() == [1, 1]
    assert at_equal_calls(99, FAMILY).tolist() == [1, 1]


@given(st.floats(1, 3))
def test_more_calls_never_make_this_baseline_worse(calls: float) -> None:
    assert at_equal_calls(calls, FAMILY).mean() <= at_equal_calls(calls + 0.1, FAMILY).mean() + 1e-9


def test_a_row_is_compared_question_by_question() -> None:
    row = Row(np.array([1.0, 0.0]), 2.0)
    found = compared(row, {"majority": FAMILY}, {"auto": Row(np.array([0.0, 0.0]), 1.0)})
    assert found["majority"] == {"difference": 0.0, "ci95": [0.0, 0.0]}
    assert found["auto"]["difference"] == 0.5


def test_a_winner_beats_a_baseline_and_is_beaten_by_none() -> None:
    def row(name: str, *intervals: list[float]) -> dict[str, object]:
        return {"name": name, "against": {str(i): {"ci95": ci} for i, ci in enumerate(intervals)}}

    rows = [
        row("wins", [0.1, 0.2], [-0.1, 0.1]),
        row("mixed", [0.1, 0.2], [-0.2, -0.1]),
        row("ties", [-1, 1]),
    ]
    assert winners(rows) == ["wins"]


def test_questions_are_spread_over_the_skills() -> None:
    queries = read_questions(ZOO / "test.jsonl")
    few = spread(queries, 60)
    assert len({query.id for query in few}) == 60
    assert {skill for q in few for skill in q.skills} == {skill for q in queries for skill in q.skills}
    assert spread(queries, None) == list(queries)


def test_the_zoo_is_a_pool_with_every_aggregator_that_asks(tmp_path: Path) -> None:
    for router in ("posterior", "random"):
        settings = load_settings(write_pool(tmp_path, compositions([*ROWS], router)))
        specs = settings.muster.compositions
        assert {specs[name].aggregator for name in ROWS} == set(AGGREGATORS) - {*KEPT}
        assert {specs[name].router for name in ROWS} == {router}
        assert specs["weighted@7"].router_options["k"] == 7
