"""Ranking a pool takes seconds, and whoever may look at its page may ask for it: once for each profile."""

from typing import Any

from orchestrator.evaluation.pool import PoolEvaluation
from tests.fakes.decks import profile

POINTS = [(1.0, 0.0)] * 4


def test_a_pool_is_ranked_once_for_each_profile() -> None:
    first = profile({"a": [1, 1, 1, 1], "b": [0, 0, 0, 0]}, POINTS)
    second = profile({"a": [0, 0, 0, 0], "b": [1, 1, 1, 1]}, POINTS)
    known = [first]
    nothing: Any = None
    evaluation = PoolEvaluation(
        bench=nothing, pool=nothing, questions=list, profile=lambda: known[-1], grader=nothing, seed=0
    )
    ranked = evaluation.swiss()
    assert ranked[0].expert_id == "a"
    assert evaluation.swiss() is ranked
    known.append(second)
    assert evaluation.swiss()[0].expert_id == "b"
