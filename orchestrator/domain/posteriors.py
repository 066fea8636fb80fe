"""Posteriors of shares and of mean scores: a mean in [0, 1] with its 90 % interval, by Beta distributions."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LEAST_PRIOR, MOST_PRIOR = 0.01, 0.99
"""Means of priors are clipped, so that one answer can always be wrong."""

Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    low: float
    high: float


class Posterior(NamedTuple):
    """Beta posterior of an accuracy, or of a mean score: mean and 90 % interval in [0, 1]; n = observations
    behind it."""

    mean: float
    low: float
    high: float
    n: float


def clipped_mean(prior_mean: float) -> float:
    """A `prior_mean` kept between `LEAST_PRIOR` and `MOST_PRIOR`."""
    return min(max(prior_mean, LEAST_PRIOR), MOST_PRIOR)


def beta_interval(a: float, b: float) -> Interval:
    """Central 90 % interval of Beta(a, b); a, b > 0."""
    low, high = beta_bounds(np.float64(a), np.float64(b))
    return Interval(float(low), float(high))


def beta_bounds(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Exact 5 % and 95 % quantiles of Beta(a, b), one by one; a, b > 0, of equal shape."""
    # A second of import, which a child process with an engine has no use for.
    from scipy.special import betaincinv

    return betaincinv(a, b, 0.05), betaincinv(a, b, 0.95)
