"""Grades of answers to open questions: scores in [0, 1] by one source, counted so that they get intervals."""

from collections.abc import Iterable
from enum import StrEnum

from pydantic import Field

from orchestrator.domain.cards import Posterior, beta_interval, clipped_mean
from orchestrator.domain.values import Value

PRIOR_STRENGTH = 4.0
"""Pseudo-observations of the prior mean."""

SPREAD_STRENGTH = 20.0
"""Pseudo-observations of the spread that right-or-wrong outcomes of the same mean would have."""


class GradeSource(StrEnum):
    """Source of scores; those of two sources are never counted together."""

    IMPORTED = "imported"
    RUBRIC = "rubric"
    REFERENCE = "reference"
    PAIRWISE = "pairwise"
    FEEDBACK = "feedback"


class GradeTally(Value):
    """Number, sum and sum of squares of scores in [0, 1]."""

    n: int = Field(default=0, ge=0)
    total: float = Field(default=0.0, ge=0)
    squares: float = Field(default=0.0, ge=0)

    @property
    def mean(self) -> float:
        """In [0, 1]; 0 of no scores."""
        return self.total / self.n if self.n else 0.0

    def posterior(self, prior_mean: float) -> Posterior:
        """Mean and 90 % interval of the expected score (methods 8).

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


def grade_tally(scores: Iterable[float]) -> GradeTally:
    values = [float(score) for score in scores]
    return GradeTally(n=len(values), total=sum(values), squares=sum(v * v for v in values))
