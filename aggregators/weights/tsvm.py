"""TSV merging: singular vectors of the task matrices, made orthogonal across tasks. Source: arXiv:2412.00081.

`r_tsvm` is our reading of arXiv:2502.06876, whose equations we could not verify: outliers are clipped, and
tasks with denser matrices get more of the rank.

Shapes: T task vectors tau, [m, n] each where the tensor is a matrix (`matrices`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from aggregators.weights.blocks import NOTHING_DROPPED
from aggregators.weights.matrices import is_matrix
from aggregators.weights.rows import Finite, MergeOptions, Tensors
from aggregators.weights.svd import leading_triplets, polar_factor
from aggregators.weights.task_arithmetic import plain_sum

N_STDS = 3


class TsvmOptions(MergeOptions):
    """
    Args:
        lam: scale of the merged task vector.
    """

    lam: Finite = 1.0


def merge(tensors: Tensors, options: TsvmOptions) -> Tensor:
    """theta_0 + lambda pol(U) diag(S) pol(V)ᵀ of matrices; of other tensors, theta_0 + lambda mean tau.

    U, S and V are the k leading triplets of all T task matrices side by side, k = max(1, min(m, n) // T).

    Returns:
        In the models' shape; of a matrix in `dtype`, else in `out_dtype`.
    """
    if not is_matrix(tensors.name, tensors.models[0]):
        return _with_mean(tensors, options.lam)
    taus = tensors.task_vectors()
    k = max(1, min(taus[0].shape) // len(taus))
    merged = orthogonal_sum(taus, [k] * len(taus), name=tensors.name)
    return tensors.base_tensor().add(merged, alpha=options.lam)


def merge_robust(tensors: Tensors, options: TsvmOptions) -> Tensor:
    """`merge` of task matrices without outliers, and with ranks shared by density; returns as it does."""
    if not is_matrix(tensors.name, tensors.models[0]):
        return _with_mean(tensors, options.lam)
    taus = tensors.task_vectors()
    clipped = [without_outliers(tau) for tau in taus]
    merged = orthogonal_sum(clipped, ranks_by_density(clipped), name=tensors.name)
    return tensors.base_tensor().add(merged, alpha=options.lam)


def orthogonal_sum(taus: Sequence[Tensor], ranks: Sequence[int], *, name: str) -> Tensor:
    """pol(U) diag(S) pol(V)ᵀ over the leading triplets of every task; [m, n], in the task vectors' dtype.

    Triplets of at most 1e-9 of a task's largest value are left out; with none left, the result is 0.

    Args:
        taus: float, [m, n] each; not modified.
        ranks: how many triplets of each, >= 0.
        name: the tensor's, by which random vectors are drawn.
    """
    parts = [
        leading_triplets(tau, k, name=name).above_noise()
        for tau, k in zip(taus, ranks, strict=True)
        if k and bool(tau.any())
    ]
    if not parts:
        return torch.zeros_like(taus[0])
    u = polar_factor(torch.cat([part.u for part in parts], dim=1))
    v = polar_factor(torch.cat([part.v for part in parts], dim=1))
    s = torch.cat([part.s for part in parts])
    return ((u * s) @ v.T).to(taus[0].dtype)


def without_outliers(tau: Tensor) -> Tensor:
    """tau with entries beyond mean + 3 standard deviations of |tau| set to that, with their sign.

    Args:
        tau: float, of any shape; not modified.
    """
    magnitudes = tau.abs()
    edge = float(magnitudes.mean() + N_STDS * magnitudes.std(correction=0))
    return tau.clamp(-edge, edge)


def ranks_by_density(taus: Sequence[Tensor]) -> list[int]:
    """Ranks max(1, int(R d_i / sum d)), d_i = (sum|tau_i|)² / (N sum tau_i²); 0 for a zero tau.

    N = m n, the number of entries; R = min(m, n); d_i in (0, 1]: 1 where all entries are as large.

    Args:
        taus: float, [m, n] each.
    """
    densities = [_density(tau) for tau in taus]
    total = sum(densities)
    rank = min(taus[0].shape)
    return [max(1, int(rank * density / total)) if density else 0 for density in densities]


def _density(tau: Tensor) -> float:
    wide = tau.double()
    squares = float(wide.square().sum())
    return float(wide.abs().sum()) ** 2 / (tau.numel() * squares) if squares else 0.0


def _with_mean(tensors: Tensors, lam: float) -> Tensor:
    n = len(tensors.models)
    return plain_sum(tensors, [NOTHING_DROPPED] * n, [1.0] * n, normalize=True, lam=lam)
