"""Weighted sums of tensors, one at a time in memory. Ours: weights that sum to nearly 0 are refused."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from orchestrator.errors import MergeError

LEAST_SUM = 1e-8
"""Sums of weights nearer to 0 are not divided by."""


def weighted_sum(tensors: Iterable[Tensor], weights: Sequence[float], dtype: torch.dtype) -> Tensor:
    """sum_i w_i x_i, a new tensor in `dtype`.

    Args:
        tensors: at least one, all of one shape and of any float dtypes; not modified.
        weights: one for each, of any sign.
    """
    total: Tensor | None = None
    for tensor, weight in zip(tensors, weights, strict=True):
        if total is None:
            total = tensor.to(dtype) * weight
        else:
            total.add_(tensor.to(dtype), alpha=weight)
    assert total is not None, "a merge has a model"
    return total


def divisor_of(name: str, weights: Sequence[float]) -> float:
    """The sum of the weights, to divide by; not 0.

    Args:
        name: the tensor's, for errors.

    Raises:
        MergeError: it is nearer to 0 than 1e-8.
    """
    total = sum(weights)
    if abs(total) < LEAST_SUM:
        raise MergeError(
            f"tensor '{name}': the weights sum to {total:g}, which nothing can be divided by.",
            param="weight",
            remedy="Give other weights, or set normalize: false.",
        )
    return total
