"""Model breadcrumbs: drop the largest and the smallest entries of task vectors.

Source: arXiv:2312.06795; `breadcrumbs_ties`, with the signs elected as in TIES, is mergekit's.

Shapes: as in `blocks`.
"""

from torch import Tensor

from aggregators.weights.blocks import NOTHING_DROPPED, Kept, magnitudes
from aggregators.weights.rescaling import l1_scale
from aggregators.weights.rows import Finite, MergeOptions, PerModel, Tensors
from aggregators.weights.selecting import smallest
from aggregators.weights.task_arithmetic import plain_sum
from aggregators.weights.ties import elected_sum


class BreadcrumbsOptions(MergeOptions):
    """
    Args:
        weight: of every model.
        density: share of entries that is kept; 1 and above all, 0 and below none. A mergekit recipe has 1.
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
    """theta_0 + lambda times the weighted sum of what is kept; [S], in `out_dtype`.

    Raises:
        MergeError: the sum of normalised weights is nearer to 0 than 1e-8.
    """
    weights = tensors.weights(options.weight, may_be_negative=True)
    kept = _kept(tensors, options)
    return plain_sum(tensors, kept, weights, normalize=options.normalize, lam=options.lam)


def merge_ties(tensors: Tensors, options: BreadcrumbsOptions) -> Tensor:
    """theta_0 + lambda times the sum of what is kept and has the elected sign; [S], in `out_dtype`.

    Raises:
        MergeError: a negative weight with `normalize`.
    """
    weights = tensors.weights(options.weight, may_be_negative=not options.normalize)
    kept = _kept(tensors, options)
    return elected_sum(tensors, kept, weights, normalize=options.normalize, lam=options.lam)


def _middle(sizes: Tensor, density: float, gamma: float) -> Tensor:
    """Mask of int(density n) entries, by ascending magnitude from place max(0, n - kept - int(gamma n)) on.

    Of equal magnitudes the earlier index comes first.

    Args:
        sizes: magnitudes, [n].
    """
    n = sizes.numel()
    n_kept = max(0, int(density * n))
    begin = max(0, n - n_kept - int(gamma * n))
    return smallest(sizes, begin + n_kept) & ~smallest(sizes, begin)


def _kept(tensors: Tensors, options: BreadcrumbsOptions) -> list[Kept]:
    densities = tensors.per_model("density", options.density)
    gammas = tensors.per_model("gamma", options.gamma)
    kept = []
    for position, (density, gamma) in enumerate(zip(densities, gammas, strict=True)):
        if density >= 1:
            kept.append(NOTHING_DROPPED)
            continue
        sizes = magnitudes(tensors, position)
        mask = _middle(sizes, density, gamma)
        kept.append(Kept(mask, l1_scale(sizes, mask) if options.rescale else 1.0))
    return kept
