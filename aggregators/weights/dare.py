"""DARE: drop entries of task vectors at random and rescale the rest. Source: arXiv:2311.03099.

Then task arithmetic (`dare_linear`), or the election of signs of TIES without its trimming (`dare_ties`).
Where we differ: masks are drawn by (seed, tensor's name, model's position); see `masks`.

Shapes: as in `blocks`.
"""

from typing import Literal

import torch
from torch import Tensor

from aggregators.weights.blocks import NOTHING_DROPPED, Kept, magnitudes
from aggregators.weights.masks import bernoulli_mask
from aggregators.weights.rescaling import l1_scale
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
    """theta_0 + lambda sum w c m tau, m the random masks and c = 1 / density, or as `rescale` says.

    Returns:
        [S] in `out_dtype`.

    Raises:
        MergeError: the sum of normalised weights is nearer to 0 than 1e-8.
    """
    weights = tensors.weights(options.weight, may_be_negative=True)
    kept = _kept_at_random(tensors, options)
    return plain_sum(tensors, kept, weights, normalize=options.normalize, lam=options.lam)


def merge_ties(tensors: Tensors, options: DareOptions) -> Tensor:
    """theta_0 + lambda times the sum of those entries, dropped and rescaled, that have the elected sign.

    Returns:
        [S] in `out_dtype`.

    Raises:
        MergeError: a negative weight with `normalize`.
    """
    weights = tensors.weights(options.weight, may_be_negative=not options.normalize)
    kept = _kept_at_random(tensors, options)
    return elected_sum(tensors, kept, weights, normalize=options.normalize, lam=options.lam)


def _kept_at_random(tensors: Tensors, options: DareOptions) -> list[Kept]:
    """Entries of every task vector that are kept, and the factor that makes up for the others."""
    densities = tensors.per_model("density", options.density)
    return [_kept(tensors, position, density, options) for position, density in enumerate(densities)]


def _kept(tensors: Tensors, position: int, density: float, options: DareOptions) -> Kept:
    if density >= 1:
        return NOTHING_DROPPED
    model = tensors.models[position]
    if density <= 0:
        return Kept(torch.zeros(model.numel(), dtype=torch.bool, device=model.device))
    drawn = bernoulli_mask(model, density, seed=options.seed, name=tensors.name, position=position)
    mask = drawn.reshape(-1)
    if options.rescale == "paper":
        return Kept(mask, 1 / density)
    return Kept(mask, l1_scale(magnitudes(tensors, position), mask) if options.rescale else 1.0)
