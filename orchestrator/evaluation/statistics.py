"""Statistics of a comparison: accuracies with intervals, paired differences, calibration, the oracle.

Intervals are percentile bootstraps (Efron 1979), equal for equal values and seed; in calibration, Wilson's.

Shapes: E experts (or methods), Q queries. Nothing is modified in place.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
MASS = 0.95


class Estimate(NamedTuple):
    """A value with its 95 % interval, in the value's own unit."""

    value: float
    low: float
    high: float


def bootstrap_mean(values: npt.ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Mean with its 95 % percentile-bootstrap interval.

    Drawing Q values with replacement is drawing a multinomial count of each distinct value, which is
    what is done here: for right-or-wrong outcomes it costs nothing, whatever Q is.

    Args:
        values: [Q], one per query; Q >= 1.
        seed: equal values and seed, equal interval.
        resamples: how often Q values are drawn, >= 1.

    Raises:
        ValueError: no values.
    """
    distinct, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    n = int(counts.sum())
    if n == 0:
        raise ValueError("no values to average")
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    low, high = np.quantile(drawn @ distinct / n, [(1 - MASS) / 2, (1 + MASS) / 2])
    return Estimate(float(counts @ distinct / n), float(low), float(high))


def accuracy(right: npt.ArrayLike, *, seed: int = 0) -> Estimate:
    """Share of right answers in [0, 1]; `right`: bool [Q], an abstention is not right.

    Raises:
        ValueError: no answers.
    """
    return bootstrap_mean(right, seed=seed)


def paired_difference(right: npt.ArrayLike, baseline: npt.ArrayLike, *, seed: int = 0) -> Estimate:
    """Accuracy of one method minus that of another on the same queries, resampled together.

    An interval above 0 says that the first is better on questions like these.

    Args:
        right, baseline: bool [Q], in the same order of queries.

    Raises:
        ValueError: they differ in length, or are empty.
    """
    ours, theirs = (np.asarray(x, dtype=np.float64) for x in (right, baseline))
    if ours.shape != theirs.shape:
        raise ValueError(f"paired outcomes differ in length: {ours.shape} and {theirs.shape}")
    return bootstrap_mean(ours - theirs, seed=seed)


def clustered_mean(values: npt.ArrayLike, clusters: npt.ArrayLike, *, seed: int = 0) -> Estimate:
    """Mean of values that come in groups, with a 95 % percentile-bootstrap interval that draws whole groups.

    For one question answered under several splits: its answers are no independent evidence. With one
    value per group it is `bootstrap_mean`.

    Args:
        values: [N], N >= 1.
        clusters: int [N], the group of each value.
        seed: equal values and seed, equal interval.

    Raises:
        ValueError: no values.
    """
    flat = np.asarray(values, dtype=np.float64)
    if not flat.size:
        raise ValueError("no values to average")
    _, group = np.unique(np.asarray(clusters), return_inverse=True)
    sizes = np.bincount(group)
    sums = np.round(np.bincount(group, weights=flat), 9)  # equal groups must be found equal
    # As in `bootstrap_mean`: drawing groups is drawing a multinomial count of each distinct (sum, size).
    kinds, counts = np.unique(np.stack([sums, sizes]), axis=1, return_counts=True)
    n = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=RESAMPLES)
    low, high = np.quantile((drawn @ kinds[0]) / (drawn @ kinds[1]), [(1 - MASS) / 2, (1 + MASS) / 2])
    return Estimate(float(flat.mean()), float(low), float(high))


def oracle(right: npt.ArrayLike, *, seed: int = 0) -> Estimate:
    """Share of queries, in [0, 1], that at least one expert answered rightly; `right`: bool [E, Q].

    Raises:
        ValueError: no queries.
    """
    return bootstrap_mean(np.asarray(right, dtype=bool).any(axis=0), seed=seed)


def calibration_error(confidence: npt.ArrayLike, right: npt.ArrayLike, *, bins: int = 10) -> float:
    """Expected calibration error with bins of equal mass, in [0, 1]; 0 = confidence equals accuracy.

    Mean over bins, weighted by size, of |mean confidence − accuracy|.

    Args:
        confidence: [Q] in [0, 1].
        right: bool [Q].
        bins: >= 1; empty ones (more bins than queries) are left out.

    Raises:
        ValueError: no answers, or not as many of the one as of the other.
    """
    parts = calibration_bins(confidence, right, bins=bins)
    n = sum(part.n for part in parts)
    return float(sum(part.n * abs(part.confidence - part.right) for part in parts) / n)


class CalibrationBin(NamedTuple):
    """Answers of similar confidence: mean confidence, share that is right with its 95 % Wilson interval."""

    confidence: float
    right: float
    low: float
    high: float
    n: int


def calibration_bins(
    confidence: npt.ArrayLike, right: npt.ArrayLike, *, bins: int = 10
) -> list[CalibrationBin]:
    """Answers by rising confidence in bins of equal mass.

    Args:
        confidence, right, bins: as for `calibration_error`.

    Raises:
        ValueError: no answers, or not as many of the one as of the other.
    """
    stated, hit = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if stated.shape != hit.shape or not stated.size:
        raise ValueError(f"need as many confidences as outcomes, at least one: {stated.shape}, {hit.shape}")
    order = np.argsort(stated, kind="stable")
    parts = [part for part in np.array_split(order, bins) if part.size]
    return [
        CalibrationBin(
            float(stated[part].mean()),
            float(hit[part].mean()),
            *wilson_interval(hit[part].sum(), part.size),
            part.size,
        )
        for part in parts
    ]


def wilson_interval(n_right: float, n: int) -> tuple[float, float]:
    """95 % interval, within [0, 1], of a share (Wilson 1927, 10.1080/01621459.1927.10502953).

    `(5, 10)` -> (0.237, 0.763).

    Args:
        n_right: 0 to n.
        n: >= 1.
    """
    z = 1.959964
    share = n_right / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # The share lies within, whatever the last digits say.
    return float(max(0.0, min(centre - half, share))), float(min(1.0, max(centre + half, share)))
