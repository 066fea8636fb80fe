"""Weighted sums of tensors, one at a time in memory."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from orchestrator.errors import MergeError

LEAST_SUM = 1e-8
"""Sums of weights nearer to 0 are not divided by."""


def weighted_sum(tensors: Iterable[Tensor], weights: Sequence[float], dtype: torch.dtype) -> Tensor:
    """sum_i w_i x_i in `dtype`; x_i of any float dtype."""
    total: Tensor | None = None
    for tensor, weight in zip(tensors, weights, strict=True):
        if total is None:
            total = tensor.to(dtype) * weight
        else:
            total.add_(tensor.to(dtype), alpha=weight)
    assert total is not None, "a merge has a model"
    return total


def divisor_of(name: str, weights: Sequence[float]) -> float:
    """The sum of the weights.

    Raises:
        MergeError: it is (nearly) 0.
    """
    total = sum(weights)
    if abs(total) < LEAST_SUM:
        raise MergeError(
            f"tensor '{name}': the weights sum to {total:g}, which nothing can be divided by.",
            param="weight",
            remedy="Give other weights, or set normalize: false.",
        )
    return total
