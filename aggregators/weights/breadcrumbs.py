"""Model breadcrumbs: drop the largest and the smallest entries of task vectors. Source: arXiv:2312.06795."""

from torch import Tensor

from aggregators.weights.rescaling import with_l1_of
from aggregators.weights.rows import Finite, MergeOptions, PerModel, Tensors
from aggregators.weights.selecting import smallest
from aggregators.weights.task_arithmetic import plain_sum
from aggregators.weights.ties import elected_sum


class BreadcrumbsOptions(MergeOptions):
    """
    Args:
        weight: of every model.
        density: share of entries that is kept; 1 and above all. A mergekit recipe has 1.
        gamma: share of the largest that is dropped, as far as `density` leaves any to drop.
        rescale: scale what is kept to the sum of magnitudes before (mergekit's; not in the paper).
        normalize: divide by the sum of the weights; `breadcrumbs_ties` by the weights that agree.
        lam: scale of the merged task vector.
    """

    weight: PerModel = 1.0
    density: PerModel = 0.9
    gamma: PerModel = 0.01
    rescale: bool = False
    normalize: bool = False
    lam: Finite = 1.0


def merge_plain(tensors: Tensors, options: BreadcrumbsOptions) -> Tensor:
    """theta_0 + lambda times the weighted sum of what is kept."""
    weights = tensors.weights(options.weight, may_be_negative=True)
    return plain_sum(tensors, _kept(tensors, options), weights, normalize=options.normalize, lam=options.lam)


def merge_ties(tensors: Tensors, options: BreadcrumbsOptions) -> Tensor:
    """theta_0 + lambda times the sum of what is kept and has the elected sign.

    Raises:
        MergeError: a negative weight with `normalize`.
    """
    weights = tensors.weights(options.weight, may_be_negative=not options.normalize)
    return elected_sum(
        tensors, _kept(tensors, options), weights, normalize=options.normalize, lam=options.lam
    )


def middle(tau: Tensor, density: float, gamma: float) -> Tensor:
    """tau at int(density n) places by ascending magnitude, and zeros elsewhere.

    The first place is max(0, n - int(density n) - int(gamma n)). Of equal magnitudes the earlier index comes
    first.
    """
    if density >= 1:
        return tau
    n = tau.numel()
    n_kept = max(0, int(density * n))
    begin = max(0, n - n_kept - int(gamma * n))
    magnitudes = tau.abs().reshape(-1)
    mask = smallest(magnitudes, begin + n_kept) & ~smallest(magnitudes, begin)
    return tau * mask.view_as(tau)


def _kept(tensors: Tensors, options: BreadcrumbsOptions) -> list[Tensor]:
    densities = tensors.per_model("density", options.density)
    gammas = tensors.per_model("gamma", options.gamma)
    kept = []
    for tau, density, gamma in zip(tensors.task_vectors(), densities, gammas, strict=True):
        part = middle(tau, density, gamma)
        kept.append(with_l1_of(tau, part) if options.rescale else part)
    return kept
