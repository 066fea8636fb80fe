"""The report of a replay, as one document."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from orchestrator.domain.values import Value
from orchestrator.evaluation.comparison import (
    AUTO,
    BEST_SINGLE,
    Ground,
    Ints,
    Trial,
    against,
    by_domain,
    difference,
    summarise,
    verdict,
)
from orchestrator.evaluation.replay.sets import ReplaySet


class SeedTrials(NamedTuple):
    """Rows of one seed; `columns`: test questions, [Q]."""

    seed: int
    columns: Ints
    trials: tuple[Trial, ...]


class ReplayRow(Value):
    """One composition. Accuracies and their differences in %, of open questions the mean score; calls per
    question = different experts asked.

    Attributes:
        accuracy: mean over the seeds; `sd` over the seeds; `accuracies`: per seed.
        ci95: bootstrap over the questions.
        ece: of the stated confidence, in [0, 1], 15 bins of equal mass.
        auto_minus: accuracy of `auto` minus this row's, paired by question.
        seconds: mean over the seeds, fitting and all steps, on one core.
    """

    name: str
    accuracy: float
    sd: float
    calls: float
    ci95: tuple[float, float]
    accuracies: tuple[float, ...]
    ece: float | None = None
    router: str = ""
    aggregator: str = ""
    auto_minus: float | None = None
    auto_minus_ci95: tuple[float, float] | None = None
    seconds: float = 0.0


class ReplayReport(Value):
    """
    Attributes:
        annotation: "text", or "labels" where skills are the data set's labels (an oracle).
        domains: domain -> row -> accuracy in %.
        left_out: rows that need votes, where every question is open.
    """

    verdict: str
    pool: str
    profile: str
    annotation: str
    seeds: tuple[int, ...]
    n_experts: int
    n_profile: int
    n_test: int
    rows: tuple[ReplayRow, ...]
    domains: dict[str, dict[str, float]]
    left_out: tuple[str, ...] = ()

    @property
    def subtitle(self) -> str:
        n = len(self.seeds)
        return (
            f"pool {self.pool} ({self.n_experts} experts), {self.profile} ({self.n_profile} questions), "
            f"{self.n_test} test questions, {n} seed{'s' if n > 1 else ''}, skills from {self.annotation}"
        )

    def row(self, name: str) -> ReplayRow:
        return next(row for row in self.rows if row.name == name)


class Setting(NamedTuple):
    """Description of what was replayed, for the head of a report."""

    pool: str
    profile: str
    labels: bool
    n_experts: int
    n_profile: int


class Made(NamedTuple):
    """Parts that a row is made of."""

    router: str
    aggregator: str


def pooled(replay: ReplaySet, of_seeds: Sequence[SeedTrials]) -> tuple[Ground, tuple[Trial, ...]]:
    """The trials of all seeds, end to end; rows in the order of the first seed's."""
    columns = np.concatenate([part.columns for part in of_seeds])
    rounds = np.repeat(np.arange(len(of_seeds)), [len(part.columns) for part in of_seeds])
    ground = Ground(columns, rounds, tuple(replay.queries[c].domain or "" for c in columns.tolist()))
    return ground, tuple(
        _joined([next(t for t in part.trials if t.name == first.name) for part in of_seeds])
        for first in of_seeds[0].trials
    )


def _joined(trials: Sequence[Trial]) -> Trial:
    return Trial(
        trials[0].name,
        np.concatenate([t.score for t in trials]),
        np.concatenate([t.calls for t in trials]),
        np.concatenate([t.confidence for t in trials]),
        sum(t.seconds for t in trials) / len(trials),
    )


def report(
    setting: Setting,
    seeds: Sequence[int],
    ground: Ground,
    trials: Sequence[Trial],
    made: dict[str, Made],
    *,
    left_out: tuple[str, ...] = (),
) -> ReplayReport:
    by_name = {trial.name: trial for trial in trials}
    domains = by_domain(trials, ground)
    return ReplayReport(
        verdict=verdict(against(BEST_SINGLE, trials, ground)),
        pool=setting.pool,
        profile=setting.profile,
        annotation="labels" if setting.labels else "text",
        seeds=tuple(seeds),
        n_experts=setting.n_experts,
        n_profile=setting.n_profile,
        n_test=len(ground.question) // len(seeds),
        rows=tuple(_row(t, ground, by_name.get(AUTO), made.get(t.name, Made("", ""))) for t in trials),
        domains={d: {name: _percent(a) for name, a in of.items()} for d, of in domains.items()},
        left_out=left_out,
    )


def _row(trial: Trial, ground: Ground, auto: Trial | None, made: Made) -> ReplayRow:
    summary = summarise(trial, ground)
    paired = None if auto is None or auto is trial else difference(auto, trial, ground)
    return ReplayRow(
        name=trial.name,
        accuracy=_percent(summary.accuracy.value),
        sd=_percent(summary.sd),
        calls=round(summary.calls, 3),
        ci95=(_percent(summary.accuracy.low), _percent(summary.accuracy.high)),
        accuracies=tuple(_percent(a) for a in summary.per_round),
        ece=None if summary.ece is None else round(summary.ece, 4),
        router=made.router,
        aggregator=made.aggregator,
        auto_minus=None if paired is None else _percent(paired.difference),
        auto_minus_ci95=None if paired is None else (_percent(paired.ci95[0]), _percent(paired.ci95[1])),
        seconds=round(trial.seconds, 2),
    )


def _percent(share: float) -> float:
    return round(100 * share, 3)
