"""Experts against the best by their grades, question by question."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.grades import GradeSource, Origin, ScoreTable
from orchestrator.evaluation.grades import LEAST_PAIRED, gaps_to_best

ORIGIN = Origin(GradeSource.IMPORTED, "")


def table(**scores: list[float]) -> ScoreTable:
    return ScoreTable(ORIGIN, tuple(scores), np.array(list(scores.values()), dtype=np.float64))


def test_a_steady_gap_separates_although_questions_differ_much() -> None:
    """Both swing between 0.1 and 0.9 with the question; paired, `ada` is .1 better on each."""
    ada = [0.9, 0.2] * 20
    gap = gaps_to_best(table(ada=ada, bob=[score - 0.1 for score in ada]))["bob"]
    assert (gap.best, gap.n) == ("ada", 40)
    assert gap.difference == pytest.approx(-0.1)
    assert gap.is_separated


def test_an_order_by_noise_separates_nobody() -> None:
    ada, bob = [0.9, 0.1] * 20, [0.1, 0.9] * 19 + [0.1, 0.89]
    gap = gaps_to_best(table(ada=ada, bob=bob))["bob"]
    assert gap.difference < 0
    assert gap.low < 0 < gap.high
    assert not gap.is_separated


def test_few_questions_separate_nobody() -> None:
    few = [0.9] * (LEAST_PAIRED - 1)
    assert not gaps_to_best(table(ada=few, bob=[0.1] * len(few)))["bob"].is_separated
    assert gaps_to_best(table(ada=[*few, 0.9], bob=[0.1] * LEAST_PAIRED))["bob"].is_separated


def test_only_questions_with_scores_of_both_are_compared() -> None:
    nan = float("nan")
    gaps = gaps_to_best(
        table(ada=[0.9, 0.9, nan], bob=[nan, 0.5, 0.9], eve=[nan, nan, nan], dan=[nan, nan, 0.1])
    )
    assert set(gaps) == {"bob"}, "eve has no scores, dan none beside ada's"
    assert (gaps["bob"].n, gaps["bob"].difference) == (1, pytest.approx(-0.4))


def test_one_lucky_question_makes_nobody_the_best() -> None:
    nan = float("nan")
    gaps = gaps_to_best(table(lucky=[1.0] + [nan] * 29, steady=[0.9] * 30))
    assert gaps["lucky"].best == "steady"


def test_one_expert_alone_may_be_compared() -> None:
    scores = table(ada=[0.9] * 20, bob=[0.5] * 20, eve=[0.1] * 20)
    assert gaps_to_best(scores, of="eve") == {"eve": gaps_to_best(scores)["eve"]}
    assert gaps_to_best(scores, of="ada") == {}


def test_nothing_scored_is_nothing_compared() -> None:
    assert gaps_to_best(table(ada=[float("nan")])) == {}


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_order_of_the_experts_does_not_matter(pairs: list[tuple[float, float]]) -> None:
    ada, bob = ([pair[side] for pair in pairs] for side in (0, 1))
    assert gaps_to_best(table(ada=ada, bob=bob)) == gaps_to_best(table(bob=bob, ada=ada))
