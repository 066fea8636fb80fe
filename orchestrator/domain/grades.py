"""Grades of answers to open questions: scores in [0, 1] by one source, counted so that they get intervals."""

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from orchestrator.domain.posteriors import Posterior, beta_interval, clipped_mean
from orchestrator.domain.values import Value

PRIOR_STRENGTH = 4.0
"""Pseudo-observations of the prior mean."""

SPREAD_STRENGTH = 20.0
"""Pseudo-observations of the spread that right-or-wrong outcomes of the same mean would have."""

NO_SCORE = 0.0
"""Score of a response that is empty or failed, whoever scores."""


class GradeSource(StrEnum):
    """Source of scores; those of two sources are never counted together."""

    IMPORTED = "imported"
    RUBRIC = "rubric"
    REFERENCE = "reference"
    PAIRWISE = "pairwise"
    FEEDBACK = "feedback"


class Origin(NamedTuple):
    """Origin of the scores of a profile: their source, and who judged; "" = not told."""

    source: GradeSource
    judge: str


class GradeTally(Value):
    """Number, sum and sum of squares of scores in [0, 1]; of decayed ones, `n` is no whole number."""

    n: float = Field(default=0, ge=0)
    total: float = Field(default=0.0, ge=0)
    squares: float = Field(default=0.0, ge=0)

    @property
    def mean(self) -> float:
        """Mean score, in [0, 1]; 0 of none."""
        return min(self.total / self.n, 1.0) if self.n else 0.0

    def posterior(self, prior_mean: float) -> Posterior:
        """Mean and 90 % interval of the expected score (methods 1.7).

        p = (4·m0 + sum)/(4 + n); v = (SS + 20·p(1-p))/(n + 20), SS the squared deviations from p;
        n_eff = max(n + 4, (n + 4)·p(1-p)/v); interval of Beta(p·n_eff, (1-p)·n_eff): scores that spread less
        than right-or-wrong ones tell more.

        Args:
            prior_mean: m0 in [0, 1]; clipped to [0.01, 0.99].
        """
        m0 = clipped_mean(prior_mean)
        p = (PRIOR_STRENGTH * m0 + self.total) / (PRIOR_STRENGTH + self.n)
        deviations = max(self.squares - 2 * p * self.total + self.n * p * p, 0.0)
        spread = p * (1 - p)
        v = (deviations + SPREAD_STRENGTH * spread) / (self.n + SPREAD_STRENGTH)
        n_eff = (self.n + PRIOR_STRENGTH) * max(1.0, spread / v)
        low, high = beta_interval(p * n_eff, (1 - p) * n_eff)
        return Posterior(p, low, high, self.n)

    def scaled(self, factor: float) -> "GradeTally":
        """The tally as if each score had counted `factor` times; >= 0."""
        return GradeTally(n=self.n * factor, total=self.total * factor, squares=self.squares * factor)


def grade_tally(scores: Iterable[float]) -> GradeTally:
    """The tally of scores, whatever their order."""
    values = [float(score) for score in scores]
    return GradeTally(n=len(values), total=math.fsum(values), squares=math.fsum(v * v for v in values))


def summed_grades(tallies: Iterable[GradeTally]) -> GradeTally:
    """The tallies added up; the same sum whatever their order."""
    parts = tuple(tallies)
    return GradeTally(
        n=math.fsum(t.n for t in parts),
        total=math.fsum(t.total for t in parts),
        squares=math.fsum(t.squares for t in parts),
    )


class Lengths(Value):
    """Lengths of answers as ln(1 + characters): mean, and the quantiles at 10, 20, 50 and 90 %."""

    mean: float
    low: float
    fifth: float
    median: float
    high: float


QUANTILES = (0.1, 0.2, 0.5, 0.9)
_DIGITS = 6


def log_length(n_chars: int) -> float:
    """ln(1 + characters), >= 0."""
    return math.log1p(n_chars)


def lengths_of(n_chars: Iterable[int]) -> Lengths | None:
    """Lengths of texts of so many characters; None of no texts."""
    logs = [log_length(n) for n in n_chars]
    if not logs:
        return None
    low, fifth, median, high = (round(float(q), _DIGITS) for q in np.quantile(logs, QUANTILES))
    mean = round(math.fsum(logs) / len(logs), _DIGITS)
    return Lengths(mean=mean, low=low, fifth=fifth, median=median, high=high)


class Grades(Value):
    """Grades on a card: an expert's scores on the open questions of one profile, all by one source.

    Attributes:
        judge: who gave the scores: an expert of the pool, or the name in an imported file; "" = not told.
        n_abstain: of `total.n`, responses that were empty or failed; their score is 0.
        n_unscored: responses that nobody scored; they count nowhere.
        lengths: of the responses that are no abstentions; None = there are none.
    """

    source: GradeSource
    judge: str = ""
    total: GradeTally = GradeTally()
    skills: dict[str, GradeTally] = Field(default_factory=dict)
    domains: dict[str, GradeTally] = Field(default_factory=dict)
    n_abstain: int = Field(default=0, ge=0)
    n_unscored: int = Field(default=0, ge=0)
    lengths: Lengths | None = None

    @property
    def posterior(self) -> Posterior:
        """Mean grade of the expert with its 90 % interval; shrunk towards 0.5 by four observations."""
        return self.total.posterior(0.5)

    @property
    def origin(self) -> Origin:
        """Source and judge of these grades: those of another origin are not compared with them."""
        return Origin(self.source, self.judge)


class ScoreTable(NamedTuple):
    """Scores of a pool on the open questions of a profile, by one origin.

    Attributes:
        expert_ids: E experts.
        scores: float64 [E, Q]; nan = not scored.
    """

    origin: Origin
    expert_ids: tuple[str, ...]
    scores: npt.NDArray[np.float64]
