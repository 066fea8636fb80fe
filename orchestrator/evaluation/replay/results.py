"""The report of a replay, as one document."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from orchestrator.domain.values import Value
from orchestrator.evaluation.comparison import (
    AUTO,
    BEST_SINGLE,
    Difference,
    Ground,
    Ints,
    Trial,
    against,
    by_domain,
    difference,
    summarise,
    verdict,
)
from orchestrator.evaluation.length_control import Answers, LengthControl
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
        gain: accuracy minus that of `best_single`, paired by question; None where there is no such row.
        lc_gain: of open questions with known lengths of reference, the length-controlled gain
            (`LengthControl.controlled`); `same_length_gain`: the gain had each answer been as long as
            best_single's (`LengthControl.at_lengths_of`).
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
    gain: float | None = None
    gain_ci95: tuple[float, float] | None = None
    lc_gain: float | None = None
    same_length_gain: float | None = None
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
        """Sentence on what was replayed: pool, profile set, questions, seeds."""
        n = len(self.seeds)
        return (
            f"pool {self.pool} ({self.n_experts} experts), {self.profile} ({self.n_profile} questions), "
            f"{self.n_test} test questions, {n} seed{'s' if n > 1 else ''}, skills from {self.annotation}"
        )

    @property
    def is_length_controlled(self) -> bool:
        """True if answers were graded, and the lengths of what they were compared with are known."""
        return any(row.lc_gain is not None for row in self.rows)

    def row(self, name: str) -> ReplayRow:
        """The row of that name, which must be there."""
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
        None if any(t.chars is None for t in trials) else np.concatenate([_chars(t) for t in trials]),
    )


def _chars(trial: Trial) -> Ints:
    assert trial.chars is not None, "checked by the caller"
    return trial.chars


def report(
    setting: Setting,
    seeds: Sequence[int],
    ground: Ground,
    trials: Sequence[Trial],
    made: dict[str, Made],
    *,
    left_out: tuple[str, ...] = (),
    controls: Sequence[LengthControl] = (),
) -> ReplayReport:
    """The report of trials that were run on the same ground.

    Args:
        controls: of the lengths of each round's answers; none = they are not known.
    """
    by_name = {trial.name: trial for trial in trials}
    base = Base(by_name.get(AUTO), by_name.get(BEST_SINGLE), controls)
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
        rows=tuple(_row(t, ground, base, made.get(t.name, Made("", ""))) for t in trials),
        domains={d: {name: _percent(a) for name, a in of.items()} for d, of in domains.items()},
        left_out=left_out,
    )


class Base(NamedTuple):
    """Trials that rows are compared with, if they were run, and the control of lengths."""

    auto: Trial | None
    best_single: Trial | None
    controls: Sequence[LengthControl]


class LengthGains(NamedTuple):
    """Gains over the best single expert in [-1, 1], by the two controls; None = lengths are not known."""

    controlled: float | None = None
    at_same_lengths: float | None = None


def length_gains(trial: Trial, ground: Ground, base: Base) -> LengthGains:
    """Gains of a row over the best single expert at equal lengths, as means over the rounds."""
    single = base.best_single
    if not base.controls or single is None or trial.chars is None or single.chars is None:
        return LengthGains()
    found = []
    for i, control in enumerate(base.controls):
        here = ground.round == i
        row = Answers(trial.score[here], trial.chars[here])
        other = Answers(single.score[here], single.chars[here])
        gain = control.controlled(row) - control.controlled(other)
        found.append((gain, control.at_lengths_of(row, other) - control.at_lengths_of(other, other)))
    controlled, same = np.mean(found, axis=0)
    return LengthGains(float(controlled), float(same))


def _row(trial: Trial, ground: Ground, base: Base, made: Made) -> ReplayRow:
    summary = summarise(trial, ground)
    auto, single = base.auto, base.best_single
    paired = None if auto is None or auto is trial else difference(auto, trial, ground)
    gain = None if single is None or single is trial else difference(trial, single, ground)
    lengths = LengthGains() if single is trial else length_gains(trial, ground, base)
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
        auto_minus_ci95=_interval(paired),
        gain=None if gain is None else _percent(gain.difference),
        gain_ci95=_interval(gain),
        lc_gain=None if lengths.controlled is None else _percent(lengths.controlled),
        same_length_gain=None if lengths.at_same_lengths is None else _percent(lengths.at_same_lengths),
        seconds=round(trial.seconds, 2),
    )


def _interval(paired: Difference | None) -> tuple[float, float] | None:
    return None if paired is None else (_percent(paired.ci95[0]), _percent(paired.ci95[1]))


def _percent(share: float) -> float:
    return round(100 * share, 3)
