"""Selections of entries by rank, with one rule for equals: the earlier index first.

Ours: the papers leave open which of equals are kept. Nothing is modified in place.
"""

import numpy as np
import torch
from torch import Tensor


def largest(values: Tensor, k: int) -> Tensor:
    """Mask of the k largest values, bool, [n]; of equals the earlier ones.

    Args:
        values: float, [n], without NaN.
        k: how many; n and above = all, 0 and below = none.
    """
    return _ranked(values, k, is_largest=True)


def smallest(values: Tensor, k: int) -> Tensor:
    """Mask of the k smallest values; otherwise as `largest`, [n]."""
    return _ranked(values, k, is_largest=False)


def _ranked(values: Tensor, k: int, *, is_largest: bool) -> Tensor:
    n = values.numel()
    if k >= n:
        return torch.ones_like(values, dtype=torch.bool)
    if k <= 0:
        return torch.zeros_like(values, dtype=torch.bool)
    edge = order_statistic(values, n - k if is_largest else k - 1)
    mask = values > edge if is_largest else values < edge
    missing = k - int(torch.count_nonzero(mask))
    equal = (values == edge).nonzero()[:missing, 0]
    mask[equal] = True
    return mask


def order_statistic(values: Tensor, rank: int) -> float:
    """The value at place `rank` (0 to n - 1) of the values in ascending order; values: float, [n], no NaN."""
    if values.device.type == "cpu":
        return float(np.partition(values.numpy(), rank)[rank])
    return float(values.kthvalue(rank + 1).values)
