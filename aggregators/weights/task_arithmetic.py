"""Task arithmetic: the base plus a weighted sum of task vectors. Source: arXiv:2212.04089.

Shapes: as in `blocks`.
"""

from collections.abc import Sequence

from torch import Tensor

from aggregators.weights.blocks import NOTHING_DROPPED, Kept, add_to_base
from aggregators.weights.rows import Finite, MergeOptions, PerModel, Tensors
from aggregators.weights.sums import divisor_of, weighted_sum


class TaskArithmeticOptions(MergeOptions):
    """
    Args:
        weight: of every model; may be negative, which subtracts what that model learnt.
        normalize: divide by the sum of the weights.
        lam: scale of the sum; the paper uses .3 to .4 for eight tasks.
    """

    weight: PerModel = 1.0
    normalize: bool = False
    lam: Finite = 1.0


def merge(tensors: Tensors, options: TaskArithmeticOptions) -> Tensor:
    """theta_0 + lambda sum w tau; [S], in `out_dtype`.

    Raises:
        MergeError: the sum of normalised weights is nearer to 0 than 1e-8.
    """
    weights = tensors.weights(options.weight, may_be_negative=True)
    all_of_each = [NOTHING_DROPPED] * len(weights)
    return plain_sum(tensors, all_of_each, weights, normalize=options.normalize, lam=options.lam)


def plain_sum(
    tensors: Tensors, kept: Sequence[Kept], weights: Sequence[float], *, normalize: bool, lam: float
) -> Tensor:
    """theta_0 + lambda sum w delta, delta what is kept of tau; [S], in `out_dtype`.

    Args:
        kept, weights: one for each model.
        normalize: the sum is divided by that of the weights.
        lam: lambda, of any sign.

    Raises:
        MergeError: there is no base, or the sum of normalised weights is nearer to 0 than 1e-8.
    """
    divisor = divisor_of(tensors.name, weights) if normalize else 1.0

    def of(place: slice, taus: list[Tensor]) -> Tensor:
        deltas = [one.of(tau, place) for one, tau in zip(kept, taus, strict=True)]
        total = weighted_sum(deltas, weights, tensors.dtype)
        return total if divisor == 1 else total.div_(divisor)

    return add_to_base(tensors, of, lam=lam)
