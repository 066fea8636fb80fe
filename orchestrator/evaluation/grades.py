"""Experts compared by their grades, question by question: the best, and who cannot be told from it."""

from typing import NamedTuple

import numpy as np

from orchestrator.domain.grades import ScoreTable, grade_tally
from orchestrator.evaluation.statistics import bootstrap_mean

LEAST_PAIRED = 20
"""Questions from which on an interval can separate two experts: that of fewer is too narrow."""


class GradeGap(NamedTuple):
    """Mean grade of an expert less that of the best one, on the questions that both have scores of, with its
    paired 95 % interval; `n` such questions."""

    expert_id: str
    best: str
    difference: float
    low: float
    high: float
    n: int

    @property
    def is_separated(self) -> bool:
        """False where the interval holds 0, or of few questions: the order of the two is noise."""
        return self.n >= LEAST_PAIRED and (self.high < 0 or self.low > 0)


def gaps_to_best(table: ScoreTable, *, of: str | None = None) -> dict[str, GradeGap]:
    """Gaps of experts with scores, but the best, by their ids.

    The best has the highest mean grade, shrunk towards 0.5 by four observations, so that one lucky question
    makes nobody the best.

    Args:
        of: the only expert that is compared; None = all.
    """
    scored = [row for row in range(len(table.expert_ids)) if not np.isnan(table.scores[row]).all()]
    if not scored:
        return {}
    means = {row: _mean(table, row) for row in scored}
    best = min(scored, key=lambda row: (-means[row], table.expert_ids[row]))
    gaps = (_gap(table, row, best) for row in scored if row != best and of in (None, table.expert_ids[row]))
    return {gap.expert_id: gap for gap in gaps if gap is not None}


def _mean(table: ScoreTable, row: int) -> float:
    known = table.scores[row]
    return grade_tally(known[~np.isnan(known)].tolist()).posterior(0.5).mean


def _gap(table: ScoreTable, row: int, best: int) -> GradeGap | None:
    """None where no question has scores of both."""
    paired = table.scores[row] - table.scores[best]
    both = paired[~np.isnan(paired)]
    if not both.size:
        return None
    value, low, high = bootstrap_mean(both)
    return GradeGap(table.expert_ids[row], table.expert_ids[best], value, low, high, int(both.size))
