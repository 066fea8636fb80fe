"""TIES: trim task vectors, elect a sign for every entry, add what agrees. Source: arXiv:2306.01708."""

from collections.abc import Sequence

import torch
from torch import Tensor

from aggregators.weights.rescaling import with_l1_of
from aggregators.weights.rows import Finite, MergeOptions, PerModel, Tensors
from aggregators.weights.selecting import largest


class TiesOptions(MergeOptions):
    """
    Args:
        weight: of every model; at least 0 where they are normalised.
        density: share of each task vector's entries that is kept, the largest; 1 and above all, 0 and below
            none. A mergekit recipe has 1.
        rescale: scale what is kept to the sum of magnitudes before (mergekit's; not in the paper).
        normalize: divide each entry by the weights of the models that agree.
        lam: scale of the merged task vector.
    """

    weight: PerModel = 1.0
    density: PerModel = 0.2
    rescale: bool = False
    normalize: bool = True
    lam: Finite = 1.0


def merge(tensors: Tensors, options: TiesOptions) -> Tensor:
    """theta_0 + lambda times the sum of trimmed task vectors that have the elected sign.

    Raises:
        MergeError: a negative weight with `normalize`.
    """
    weights = tensors.weights(options.weight, may_be_negative=not options.normalize)
    densities = tensors.per_model("density", options.density)
    deltas = []
    for tau, density in zip(tensors.task_vectors(), densities, strict=True):
        kept = trimmed(tau, density)
        deltas.append(with_l1_of(tau, kept) if options.rescale else kept)
    return elected_sum(tensors, deltas, weights, normalize=options.normalize, lam=options.lam)


def trimmed(tau: Tensor, density: float) -> Tensor:
    """tau with max(1, int(density n)) entries kept, the largest by magnitude, and zeros elsewhere."""
    if density >= 1:
        return tau
    kept = max(1, int(density * tau.numel())) if density > 0 else 0
    mask = largest(tau.abs().reshape(-1), kept)
    return tau * mask.view_as(tau)


def elected_sum(
    tensors: Tensors, deltas: Sequence[Tensor], weights: Sequence[float], *, normalize: bool, lam: float
) -> Tensor:
    """theta_0 + lambda sum of the w delta whose sign is that of their sum (0 counts as +).

    `normalize` divides each entry by the weights of those summed there (0 counts as 1). A zero never agrees.
    """
    parts = [delta.mul(weight) for delta, weight in zip(deltas, weights, strict=True)]
    is_positive = sum_of(parts) >= 0
    total = torch.zeros_like(parts[0])
    divisor = torch.zeros_like(parts[0])
    for part, weight in zip(parts, weights, strict=True):
        agrees = torch.where(is_positive, part > 0, part < 0)
        total += part * agrees
        if normalize:
            divisor.add_(agrees, alpha=weight)
    if normalize:
        total /= divisor.masked_fill_(divisor == 0, 1)
    return tensors.base_tensor().add(total, alpha=lam)


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    """The sum, in the order of the parts; they are not modified."""
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total
