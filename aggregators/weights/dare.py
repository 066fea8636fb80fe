"""DARE: drop entries of task vectors at random and rescale the rest. Source: arXiv:2311.03099.

Then task arithmetic (`dare_linear`), or the election of signs of TIES without its trimming (`dare_ties`).
"""

from typing import Literal

from torch import Tensor

from aggregators.weights.masks import bernoulli_mask
from aggregators.weights.rescaling import with_l1_of
from aggregators.weights.rows import Finite, MergeOptions, PerModel, Tensors
from aggregators.weights.task_arithmetic import plain_sum
from aggregators.weights.ties import elected_sum


class DareOptions(MergeOptions):
    """
    Args:
        weight: of every model.
        density: probability that an entry is kept; 1 and above all, 0 and below none. A mergekit recipe
            has 1.
        rescale: `paper` = 1/density; `l1` or true = to the sum of magnitudes before, as mergekit does;
            false = none. A mergekit recipe has true.
        seed: of the masks, together with the tensor's name and the model's position.
        normalize: divide by the sum of the weights; `dare_ties` by the weights that agree.
        lam: scale of the merged task vector.
    """

    weight: PerModel = 1.0
    density: PerModel = 0.2
    rescale: Literal["paper", "l1"] | bool = "paper"
    seed: int = 0
    normalize: bool = False
    lam: Finite = 1.0


def merge_linear(tensors: Tensors, options: DareOptions) -> Tensor:
    """theta_0 + lambda sum w m tau / density, m the random masks."""
    weights = tensors.weights(options.weight, may_be_negative=True)
    return plain_sum(
        tensors, dropped(tensors, options), weights, normalize=options.normalize, lam=options.lam
    )


def merge_ties(tensors: Tensors, options: DareOptions) -> Tensor:
    """theta_0 + lambda times the sum of dropped and rescaled task vectors that have the elected sign.

    Raises:
        MergeError: a negative weight with `normalize`.
    """
    weights = tensors.weights(options.weight, may_be_negative=not options.normalize)
    deltas = dropped(tensors, options)
    return elected_sum(tensors, deltas, weights, normalize=options.normalize, lam=options.lam)


def dropped(tensors: Tensors, options: DareOptions) -> list[Tensor]:
    """The task vectors with entries dropped and the rest rescaled."""
    densities = tensors.per_model("density", options.density)
    return [
        _drop(tau, density, options, tensors.name, position)
        for position, (tau, density) in enumerate(zip(tensors.task_vectors(), densities, strict=True))
    ]


def _drop(tau: Tensor, density: float, options: DareOptions, name: str, position: int) -> Tensor:
    if density >= 1:
        return tau
    if density <= 0:
        return tau.zero_()
    mask = bernoulli_mask(tau, density, seed=options.seed, name=name, position=position)
    if options.rescale == "paper":
        return tau.mul_(mask).div_(density)
    kept = tau * mask
    return with_l1_of(tau, kept) if options.rescale else kept
