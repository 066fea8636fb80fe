"""Task arithmetic: the base plus a weighted sum of task vectors. Source: arXiv:2212.04089."""

from torch import Tensor

from aggregators.weights.rows import Finite, MergeOptions, PerModel, Tensors
from aggregators.weights.sums import shares, weighted_sum


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
    """theta_0 + lambda sum w tau.

    Raises:
        MergeError: normalised weights sum to less than 1e-8.
    """
    weights = tensors.weights(options.weight, may_be_negative=True)
    return plain_sum(tensors, tensors.task_vectors(), weights, normalize=options.normalize, lam=options.lam)


def plain_sum(
    tensors: Tensors, deltas: list[Tensor], weights: tuple[float, ...], *, normalize: bool, lam: float
) -> Tensor:
    """theta_0 + lambda sum w delta, the weights divided by their sum if `normalize`."""
    used = shares(tensors.name, weights) if normalize else weights
    return tensors.base_tensor().add(weighted_sum(deltas, used, tensors.dtype), alpha=lam)
