"""Ways to combine experts at equal compute; numbers worked by hand."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.evaluation.bench import BenchReport, CompositionResult
from orchestrator.evaluation.comparison import Trial
from orchestrator.evaluation.compositions import CompositionRow, Kind, calibration_of, compare_compositions
from orchestrator.evaluation.statistics import accuracy

N = 40


class Made:
    """A row: right on the first questions."""

    def __init__(
        self,
        name: str,
        kind: Kind,
        n_right: int,
        *,
        gflop: float | None,
        seconds: float,
        failed: int = 0,
        sure: float | None = None,
    ) -> None:
        self.name, self.kind, self.failed, self.sure = name, kind, failed, sure
        self.gflop, self.seconds = gflop, seconds
        self.right = tuple(i < n_right for i in range(N))


def report(rows: Sequence[Made]) -> BenchReport:
    results = tuple(
        CompositionResult(
            name=row.name,
            accuracy=accuracy(row.right).value,
            ci95=accuracy(row.right)[1:],
            calls_per_query=1,
            loads=1,
            engines=1,
            seconds=row.seconds,
            gflop_per_query=row.gflop,
            failed=row.failed,
            failure="it is gone" if row.failed else None,
        )
        for row in rows
    )
    return BenchReport(
        n_queries=N,
        n_experts=3,
        rows=results,
        differences=(),
        right={row.name: row.right for row in rows},
        calls={row.name: (1,) * N for row in rows},
        confidence={row.name: (row.sure,) * N for row in rows},
        domains=("",) * N,
    )


def compared(rows: Sequence[Made]) -> tuple[dict[str, CompositionRow], str]:
    made = compare_compositions(report(rows), {row.name: row.kind for row in rows})
    return {row.name: row for row in made.rows}, made.verdict


SMALL = Made("small", "single", 10, gflop=1, seconds=1)
BIG = Made("big", "single", 30, gflop=4, seconds=4)


def test_calibration_is_kept_of_who_says_how_sure_it_is() -> None:
    """Of 40 answers that are equally sure 30 are right: no order of the questions divides them."""
    sure = Made("sure", "ensemble", 30, gflop=2, seconds=9, sure=0.75)
    rows, _ = compared([SMALL, sure])
    assert [(part.confidence, part.right, part.n) for part in rows["sure"].calibration] == [(0.75, 0.75, 40)]
    assert rows["small"].calibration == ()


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.5001, 0.9]), st.booleans()), min_size=1, max_size=80))
def test_bins_of_a_calibration_hold_every_answer_once_and_divide_no_confidence(
    answers: list[tuple[float, bool]],
) -> None:
    confidence, right = np.array([c for c, _ in answers]), np.array([float(r) for _, r in answers])
    bins = calibration_of(Trial("a", right, np.ones(len(answers)), confidence, 1.0))
    assert sum(part.n for part in bins) == len(answers)
    assert sum(part.n * part.right for part in bins) == pytest.approx(right.sum())
    assert len(bins) <= len(set(confidence))
    assert all(one.confidence < other.confidence for one, other in pairwise(bins))


def test_a_combination_meets_the_best_single_that_its_operations_would_have_paid_for() -> None:
    """20 of 40 right at 2 GFLOP: +.25 over the small one; the big one would have cost 4."""
    rows, _ = compared([SMALL, BIG, Made("pair", "ensemble", 20, gflop=2, seconds=9)])
    gain, by_time = rows["pair"].minus_single, rows["pair"].minus_single_by_seconds
    assert gain is not None
    assert by_time is not None
    assert (gain.b, gain.difference) == ("small", pytest.approx(0.25))
    assert (by_time.b, by_time.difference) == ("big", pytest.approx(-0.25))
    assert gain.is_gain
    assert by_time.is_loss
    assert not rows["pair"].pays


def test_costs_within_a_twentieth_are_equal() -> None:
    rows, _ = compared([SMALL, BIG, Made("merge", "merge", 20, gflop=3.9, seconds=4)])
    gain = rows["merge"].minus_single
    assert gain is not None
    assert gain.b == "big"


def test_where_all_singles_cost_more_the_cheapest_is_the_rival() -> None:
    rows, _ = compared([BIG, Made("merge", "merge", 20, gflop=1, seconds=1)])
    gain = rows["merge"].minus_single
    assert gain is not None
    assert gain.b == "big"


def test_a_single_has_no_rival_and_an_unknown_cost_none_either() -> None:
    rows, _ = compared([SMALL, BIG, Made("far", "ensemble", 20, gflop=None, seconds=2)])
    assert rows["big"].minus_single is None
    assert rows["far"].minus_single is None
    assert rows["far"].minus_single_by_seconds is not None


def test_the_front_holds_what_nothing_cheaper_beats() -> None:
    waste = Made("waste", "ensemble", 25, gflop=9, seconds=0.5)
    rows, _ = compared([SMALL, BIG, waste])
    assert [name for name, row in rows.items() if row.on_front] == ["small", "big"]
    assert [name for name, row in rows.items() if row.on_seconds_front] == ["big", "waste"]


costs = st.floats(0.1, 100)
made_rows = st.lists(st.tuples(costs, st.integers(0, N)), min_size=1, max_size=8)


@given(made_rows)
def test_front_law(cells: list[tuple[float, int]]) -> None:
    """A row is off the front exactly if another costs no more and is more accurate, or as accurate and
    cheaper or named first."""
    rows, _ = compared(
        [Made(f"r{i}", "single", n, gflop=cost, seconds=1) for i, (cost, n) in enumerate(cells)]
    )
    for name, row in rows.items():
        cost = row.gflop_per_query or 0
        beaten = any(
            (other.gflop_per_query or 0) <= cost
            and (
                other.accuracy > row.accuracy
                or (
                    other.accuracy == row.accuracy
                    and ((other.gflop_per_query or 0) < cost or other.name < name)
                )
            )
            for other in rows.values()
            if other.name != name
        )
        assert row.on_front != beaten


def test_verdict_names_the_cheapest_that_the_best_does_not_surely_beat() -> None:
    """35, 36 and 36 of 40: the first costs least, and one question is no sure difference."""
    cheap = Made("cheap", "merge", 35, gflop=2, seconds=2)
    best = Made("best", "fusion", 36, gflop=8, seconds=8)
    _, verdict = compared([SMALL, cheap, best, Made("all", "ensemble", 36, gflop=9, seconds=9)])
    assert verdict.startswith("use 'cheap' (merge) on this pool: 87.5 % at 2 GFLOP a question, 62.5 points")
    assert verdict.endswith("over 'small', the best single expert of no more compute")


def test_verdict_says_do_not_combine_where_nothing_surely_gains() -> None:
    _, verdict = compared([SMALL, BIG, Made("all", "ensemble", 31, gflop=9, seconds=9)])
    assert verdict.startswith("do not combine: ")
    assert "('all' +2.5 points" in verdict
    assert verdict.endswith("use 'big': 75.0 % at 4 GFLOP a question")


def test_a_gain_by_operations_alone_does_not_pay() -> None:
    _, verdict = compared([SMALL, BIG, Made("pair", "ensemble", 20, gflop=2, seconds=9)])
    assert verdict.startswith("do not combine")


def test_nothing_is_concluded_from_a_row_that_failed() -> None:
    _, verdict = compared([SMALL, Made("all", "ensemble", 39, gflop=9, seconds=9, failed=2)])
    assert verdict == "no verdict: 2 of 40 questions of 'all' failed: it is gone"


@pytest.mark.parametrize("rows", [[SMALL], [Made("all", "ensemble", 9, gflop=1, seconds=1)]])
def test_both_sorts_are_needed_for_a_verdict(rows: list[Made]) -> None:
    assert compared(rows)[1].startswith("no verdict: a single expert and a combination are needed")


def test_unknown_operations_are_told_in_seconds() -> None:
    far = Made("far", "ensemble", 39, gflop=None, seconds=2)
    _, verdict = compared([Made("near", "single", 9, gflop=None, seconds=1), far])
    assert "97.5 % at 2.0 s for all questions" in verdict
