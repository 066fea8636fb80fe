"""Linear merge: the weighted mean of the models. Source: model soups, arXiv:2203.05482."""

from torch import Tensor

from aggregators.weights.blocks import weighted_models
from aggregators.weights.checks import is_same
from aggregators.weights.rows import MergeOptions, PerModel, Tensors
from aggregators.weights.sums import divisor_of


class LinearOptions(MergeOptions):
    """
    Args:
        weight: of every model; may be negative.
        normalize: divide by the sum of the weights.
    """

    weight: PerModel = 1.0
    normalize: bool = True


def merge(tensors: Tensors, options: LinearOptions) -> Tensor:
    """sum w theta / sum w, or sum w theta; in the models' shape, in `dtype` or `out_dtype`.

    Where all models are equal, the mean is theirs to the bit.

    Raises:
        MergeError: the sum of normalised weights is nearer to 0 than 1e-8.
    """
    weights = tensors.weights(options.weight, may_be_negative=True)
    if not options.normalize:
        return weighted_models(tensors, weights)
    divisor = divisor_of(tensors.name, weights)
    first, *others = tensors.models
    if all(is_same(first, other) for other in others):
        return first.to(tensors.dtype, copy=True)
    return weighted_models(tensors, weights, divisor=divisor)
