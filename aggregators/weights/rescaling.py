"""Rescaling of task vectors from which entries were dropped. Source: mergekit's `rescale: true`."""

from torch import Tensor

LEAST_NORM = 1e-7


def l1_scale(sizes: Tensor, mask: Tensor) -> float:
    """Factor that gives what is kept the sum of magnitudes of all; 1 where either sum is under 1e-7.

    Args:
        sizes: magnitudes of a task vector's n entries, float, [n].
        mask: bool, [n]: those kept.
    """
    before, after = float(sizes.sum()), float(sizes[mask].sum())
    return 1.0 if before < LEAST_NORM or after < LEAST_NORM else before / after
