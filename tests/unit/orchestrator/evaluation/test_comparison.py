"""Methods compared on the same questions; numbers worked by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.evaluation.comparison import (
    Difference,
    Ground,
    Trial,
    against,
    by_domain,
    difference,
    minus_others,
    pareto_front,
    summarise,
    verdict,
)

Compare = Callable[[str, Sequence[Trial], Ground], list[Difference]]

GROUND = Ground(np.array([0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 1]), ("a", "b", "", "a", "b", ""))


def trial(name: str, right: list[int], confidence: list[float] | None = None, calls: int = 3) -> Trial:
    stated = np.array(confidence if confidence is not None else [np.nan] * len(right))
    return Trial(name, np.array(right, dtype=np.float64), np.full(len(right), calls), stated)


def gain(name: str, value: float, low: float, high: float) -> Difference:
    return Difference(a=name, b="best_single", difference=value, ci95=(low, high))


def test_rounds_are_averaged_and_spread() -> None:
    """2/3 and 1/3: mean 1/2, sample sd 1/3·sqrt(1/2)."""
    summary = summarise(trial("m", [1, 1, 0, 1, 0, 0]), GROUND)
    assert summary.per_round == pytest.approx((2 / 3, 1 / 3))
    assert summary.accuracy.value == pytest.approx(0.5)
    assert summary.sd == pytest.approx(1 / 3 / np.sqrt(2))
    assert (summary.calls, summary.ece) == (3, None)


def test_ece_counts_only_stated_confidences() -> None:
    """Two answers state 1.0 and one of them is right, in bins of their own: (0 + 1) / 2."""
    nan = float("nan")
    summary = summarise(trial("m", [1, 0, 1, 1, 1, 1], [1.0, 1.0, nan, nan, nan, nan]), GROUND)
    assert summary.ece == pytest.approx(0.5)


def test_everyone_is_compared_with_the_baseline_but_the_baseline_and_the_oracle() -> None:
    """b is right in 4 of 6, a in 2, c in 3."""
    trials = [
        trial("a", [1, 0, 0, 1, 0, 0]),
        trial("b", [1, 1, 0, 1, 1, 0]),
        trial("oracle", [1] * 6),
        trial("c", [1, 1, 1, 0, 0, 0]),
    ]
    less, more = against("b", trials, GROUND), minus_others("b", trials, GROUND)
    assert [(d.a, d.b) for d in less] == [("a", "b"), ("c", "b")]
    assert [d.difference for d in less] == pytest.approx([-1 / 3, -1 / 6])
    assert [(d.a, d.b) for d in more] == [("b", "a"), ("b", "c")]
    assert [d.difference for d in more] == pytest.approx([1 / 3, 1 / 6])


@pytest.mark.parametrize("compare", [against, minus_others])
def test_without_the_baseline_there_is_nothing_to_compare(compare: Compare) -> None:
    assert compare("auto", [trial("a", [1] * 6)], GROUND) == []


def test_a_difference_is_paired() -> None:
    """a is right wherever b is, and once more: never below b."""
    a, b = trial("a", [1, 1, 0, 1, 1, 0]), trial("b", [1, 0, 0, 1, 0, 0])
    gained = difference(a, b, GROUND)
    assert gained.difference == pytest.approx(1 / 3)
    assert gained.ci95[0] >= 0
    assert difference(a, a, GROUND).ci95 == (0, 0)


def test_domains_are_counted_apart_and_unlabelled_questions_left_out() -> None:
    assert by_domain([trial("m", [1, 1, 0, 0, 1, 0])], GROUND) == {"a": {"m": 0.5}, "b": {"m": 1.0}}


def test_the_front_holds_who_nobody_beats_at_as_few_calls() -> None:
    points = {"one": (1.0, 0.5), "three": (3.0, 0.6), "worse": (3.0, 0.55), "all": (9.0, 0.6)}
    assert pareto_front(points) == ["one", "three"]


@given(
    st.dictionaries(st.text(min_size=1), st.tuples(st.floats(1, 9), st.floats(0, 1)), min_size=1, max_size=8)
)
def test_whoever_is_off_the_front_is_beaten_or_matched(points: dict[str, tuple[float, float]]) -> None:
    front = pareto_front(points)
    for name, (calls, right) in points.items():
        if name not in front:
            assert any(points[f][0] <= calls and points[f][1] >= right for f in front)


@pytest.mark.parametrize(
    ("gains", "start"),
    [
        ([gain("auto", 0.04, 0.01, 0.07), gain("all", 0.05, 0.02, 0.08)], "route: 'auto' beats"),
        ([gain("auto", 0.00, -0.02, 0.02), gain("all", 0.05, 0.02, 0.08)], "route: 'all' beats"),
        ([gain("auto", 0.01, -0.01, 0.03), gain("all", 0.00, -0.02, 0.02)], "do not route: the best single"),
        ([], "no comparison"),
    ],
)
def test_the_verdict_says_whether_to_route(gains: list[Difference], start: str) -> None:
    assert verdict(gains).startswith(start)


def test_the_verdict_states_its_interval() -> None:
    assert verdict([gain("auto", 0.042, 0.021, 0.063)]).endswith("4.2 points (95 % interval 2.1 to 6.3)")
    assert "('auto' -0.5 points (95 % interval -1.0 to +0.1))" in verdict(
        [gain("auto", -0.005, -0.01, 0.001)]
    )
