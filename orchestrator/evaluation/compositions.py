"""Ways to combine experts at equal compute: several answers, one text of several models, merged weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from orchestrator.domain.values import Value
from orchestrator.evaluation.bench import BenchReport, CompositionResult
from orchestrator.evaluation.comparison import Difference, Ground, Trial, difference, pareto_front, points
from orchestrator.evaluation.statistics import CalibrationBin, calibration_bins

Kind = Literal["single", "ensemble", "fusion", "merge"]
KINDS: tuple[Kind, ...] = ("single", "ensemble", "fusion", "merge")

REPORT_FILE = "compositions.json"
"""In a data directory: the report of the last comparison."""

SAME = 1.05
"""Costs within this factor count as equal."""
MOST_BINS, LEAST_A_BIN = 10, 15
"""Of a row's calibration: more bins, or smaller ones, would show chance."""


class CompositionRow(Value):
    """A way to answer all questions.

    Args:
        kind: `single` asks one expert (once, or several samples of it); the others combine several.
        accuracy: in [0, 1], with its 95 % interval.
        seconds: to answer all questions, loads included.
        gflop_per_query: operations of all forward passes, in thousand millions; None = not known.
        on_front: nothing of at most its operations is more accurate; `on_seconds_front`: of its seconds.
        minus_single: accuracy minus that of its rival, paired: the most accurate single of at most its
            operations, or the cheapest one where all cost more. None for a single, or an unknown cost.
        minus_single_by_seconds: the same with seconds in place of operations.
        calibration: the answers by rising confidence, in bins of equal mass that no confidence is divided
            between; empty where they state none.
    """

    name: str
    kind: Kind
    accuracy: float
    ci95: tuple[float, float]
    seconds: float
    gflop_per_query: float | None
    calls_per_query: float
    on_front: bool = False
    on_seconds_front: bool = False
    minus_single: Difference | None = None
    minus_single_by_seconds: Difference | None = None
    calibration: tuple[CalibrationBin, ...] = ()

    @property
    def pays(self) -> bool:
        """True if it surely gains on a single expert of its own cost, by each measure that is known."""
        known = [d for d in (self.minus_single, self.minus_single_by_seconds) if d is not None]
        return bool(known) and all(d.is_gain for d in known)


class CompositionsReport(Value):
    """Rows in the order in which they were asked for, and what to do on this pool. `failed`: of a row some
    questions ended in an error, so that nothing is concluded."""

    n_queries: int
    n_experts: int
    rows: tuple[CompositionRow, ...]
    verdict: str
    failed: bool = False


class _Tried(NamedTuple):
    """A row before it is compared."""

    kind: Kind
    result: CompositionResult
    trial: Trial

    @property
    def gflop(self) -> float | None:
        return self.result.gflop_per_query

    @property
    def seconds(self) -> float | None:
        return self.result.seconds


Cost = Callable[[_Tried], float | None]


def compare_compositions(report: BenchReport, kinds: Mapping[str, Kind]) -> CompositionsReport:
    """Rows of a bench by what they are, each beside single experts of its own cost.

    Args:
        report: of a bench in which every row was run.
        kinds: the kind of each row, by its name.
    """
    tried = [_Tried(kinds[t.name], r, t) for r, t in zip(report.rows, report.trials, strict=True)]
    fronts = [_front(tried, cost) for cost in (_gflop, _seconds)]
    rows = tuple(
        CompositionRow(
            name=one.result.name,
            kind=one.kind,
            accuracy=one.result.accuracy,
            ci95=one.result.ci95,
            seconds=one.seconds or 0.0,
            gflop_per_query=one.gflop,
            calls_per_query=one.result.calls_per_query,
            on_front=one.result.name in fronts[0],
            on_seconds_front=one.result.name in fronts[1],
            minus_single=_minus_rival(one, tried, _gflop, report.ground),
            minus_single_by_seconds=_minus_rival(one, tried, _seconds, report.ground),
            calibration=calibration_of(one.trial),
        )
        for one in tried
    )
    failed = any(row.failed for row in report.rows)
    return CompositionsReport(
        n_queries=report.n_queries,
        n_experts=report.n_experts,
        rows=rows,
        verdict=report.verdict if failed else advice(rows, report.compare),
        failed=failed,
    )


def calibration_of(trial: Trial) -> tuple[CalibrationBin, ...]:
    """Bins of at least `LEAST_A_BIN` answers, `MOST_BINS` at most; none where no confidence was stated."""
    stated = ~np.isnan(trial.confidence)
    n = int(stated.sum())
    if not n:
        return ()
    confidence, score = trial.confidence[stated], trial.score[stated]
    n_bins = max(1, min(MOST_BINS, n // LEAST_A_BIN))
    cuts = np.sort(confidence)[[n * each // n_bins for each in range(n_bins)]]
    bin_of = np.searchsorted(np.unique(cuts), confidence, side="right")
    parts = [bin_of == each for each in np.unique(bin_of)]
    return tuple(calibration_bins(confidence[part], score[part], bins=1)[0] for part in parts)


def _gflop(one: _Tried) -> float | None:
    return one.gflop


def _seconds(one: _Tried) -> float | None:
    return one.seconds


def _front(tried: Sequence[_Tried], cost: Cost) -> frozenset[str]:
    """Names that nothing of at most their cost beats; rows of unknown cost are left out."""
    spent = {one.result.name: (cost(one), one.result.accuracy) for one in tried}
    return frozenset(pareto_front({name: (c, a) for name, (c, a) in spent.items() if c is not None}))


def _minus_rival(one: _Tried, tried: Sequence[_Tried], cost: Cost, ground: Ground) -> Difference | None:
    rival = _rival(one, tried, cost)
    return None if rival is None else difference(one.trial, rival.trial, ground)


def _rival(one: _Tried, tried: Sequence[_Tried], cost: Cost) -> _Tried | None:
    """The single that the cost of a combination would also have paid for."""
    limit = cost(one)
    singles = [(c, t) for t in tried if t.kind == "single" and (c := cost(t)) is not None]
    if one.kind == "single" or limit is None or not singles:
        return None
    within = [(c, t) for c, t in singles if c <= SAME * limit]
    if not within:
        return min(singles, key=lambda pair: pair[0])[1]
    return max(within, key=lambda pair: (pair[1].result.accuracy, -pair[0]))[1]


Compare = Callable[[str, str], Difference]
"""Accuracy of one row minus that of another, paired."""


def advice(rows: Sequence[CompositionRow], compare: Compare) -> str:
    """The last line of a report: which way to use on this pool.

    Of the combinations that pay, the cheapest that the most accurate one does not surely beat.
    """
    singles = [row for row in rows if row.kind == "single"]
    combined = [row for row in rows if row.kind != "single"]
    if not singles or not combined:
        return "no verdict: a single expert and a combination are needed to compare"
    paying = [row for row in combined if row.pays]
    if not paying:
        return _do_not(max(singles, key=_merit), max(combined, key=_merit))
    best = max(paying, key=_merit)
    as_good = [row for row in paying if row is best or not compare(best.name, row.name).is_gain]
    chosen = min(as_good, key=lambda row: (_spent(row), row.seconds))
    gain = chosen.minus_single or chosen.minus_single_by_seconds
    assert gain is not None, "it pays against somebody"
    return (
        f"use '{chosen.name}' ({chosen.kind}) on this pool: {100 * chosen.accuracy:.1f} % at "
        f"{_cost_words(chosen)}, {points(gain)} over '{gain.b}', the best single expert of no more compute"
    )


def _merit(row: CompositionRow) -> tuple[float, float]:
    return row.accuracy, -_spent(row)


def _spent(row: CompositionRow) -> float:
    """Operations where they are known, else seconds: the rows of one pool are mostly known alike."""
    return row.seconds if row.gflop_per_query is None else row.gflop_per_query


def _do_not(single: CompositionRow, combined: CompositionRow) -> str:
    gain = combined.minus_single or combined.minus_single_by_seconds
    shown = f" ('{combined.name}' {points(gain, signed=True)} against '{gain.b}')" if gain else ""
    return (
        f"do not combine: no combination surely beats a single expert of no more compute{shown}; "
        f"use '{single.name}': {100 * single.accuracy:.1f} % at {_cost_words(single)}"
    )


def _cost_words(row: CompositionRow) -> str:
    if row.gflop_per_query is None:
        return f"{row.seconds:.1f} s for all questions"
    return f"{row.gflop_per_query:.3g} GFLOP a question"
