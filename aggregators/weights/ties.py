"""TIES: trim task vectors, elect a sign for every entry, add what agrees. Source: arXiv:2306.01708.

Shapes: as in `blocks`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from aggregators.weights.blocks import NOTHING_DROPPED, Kept, add_to_base, magnitudes
from aggregators.weights.rescaling import l1_scale
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
    """theta_0 + lambda times the sum of trimmed entries that have the elected sign; [S], in `out_dtype`.

    Raises:
        MergeError: a negative weight with `normalize`.
    """
    weights = tensors.weights(options.weight, may_be_negative=not options.normalize)
    densities = tensors.per_model("density", options.density)
    kept = [
        _trimmed(tensors, position, density, rescale=options.rescale)
        for position, density in enumerate(densities)
    ]
    return elected_sum(tensors, kept, weights, normalize=options.normalize, lam=options.lam)


def _trimmed(tensors: Tensors, position: int, density: float, *, rescale: bool) -> Kept:
    """The max(1, int(density n)) entries of a task vector that are the largest by magnitude."""
    if density >= 1:
        return NOTHING_DROPPED
    sizes = magnitudes(tensors, position)
    mask = largest(sizes, max(1, int(density * sizes.numel())) if density > 0 else 0)
    return Kept(mask, l1_scale(sizes, mask) if rescale else 1.0)


def elected_sum(
    tensors: Tensors, kept: Sequence[Kept], weights: Sequence[float], *, normalize: bool, lam: float
) -> Tensor:
    """theta_0 + lambda sum of the w delta whose sign is that of their sum (0 counts as +).

    Args:
        kept, weights: one for each model; delta is what is kept of its task vector. A zero never agrees.
        normalize: each entry is divided by the weights of those summed there (0 counts as 1).
        lam: lambda, of any sign.

    Returns:
        [S] in `out_dtype`.

    Raises:
        MergeError: there is no base.
    """

    def of(place: slice, taus: list[Tensor]) -> Tensor:
        deltas = [one.of(tau, place) for one, tau in zip(kept, taus, strict=True)]
        return _elected(deltas, weights, normalize=normalize)

    return add_to_base(tensors, of, lam=lam)


def _elected(deltas: Sequence[Tensor], weights: Sequence[float], *, normalize: bool) -> Tensor:
    """The sum of what has the elected sign; the deltas are modified."""
    parts = [delta.mul_(weight) for delta, weight in zip(deltas, weights, strict=True)]
    sign = (sum_of(parts) >= 0).to(parts[0].dtype).mul_(2).sub_(1)
    total = torch.zeros_like(sign)
    divisor = torch.zeros_like(sign)
    for part, weight in zip(parts, weights, strict=True):
        along = part.mul_(sign).clamp_(min=0)
        total += along
        if normalize:
            divisor.add_(along.sign_(), alpha=weight)
    if normalize:
        total /= divisor.masked_fill_(divisor == 0, 1)
    return total.mul_(sign)


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    """The sum, a new tensor of the parts' shape, in their order; they are not modified."""
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total
