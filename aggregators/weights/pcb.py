"""PCB merging: entries weighed by their size in a model and by their agreement with the others'.

Source: parameter competition balancing, arXiv:2410.02396. `variant: code` is what the authors' program
computes, `variant: paper` what their equations say; the two differ.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from aggregators.weights.rows import Finite, MergeOptions, Tensors
from aggregators.weights.selecting import order_statistic
from aggregators.weights.ties import sum_of

LEAST_SCALE = 1e-12


class PcbOptions(MergeOptions):
    """
    Args:
        variant: whose definition.
        r: share of a task vector's entries that compete, the highest scores.
        lam: scale of the merged task vector.
    """

    variant: Literal["code", "paper"] = "code"
    r: Annotated[float, Field(ge=0, le=1)] = 0.1
    lam: Finite = 1.2


def merge(tensors: Tensors, options: PcbOptions) -> Tensor:
    """theta_0 + lambda sum_i scale_i tau_i / max(sum_i scale_i, 1e-12), entry by entry.

    Returns:
        In the models' shape, in `dtype`.
    """
    taus = [tau.reshape(-1) for tau in tensors.task_vectors()]
    scale_of = _scale_of_code if options.variant == "code" else _scale_of_paper
    together = sum_of(taus)
    total = torch.zeros_like(together)
    divisor = torch.zeros_like(together)
    for tau in taus:
        scale = scale_of(tau, taus, together, options.r)
        total.addcmul_(scale, tau)
        divisor += scale
    merged = total.div_(divisor.clamp_(min=LEAST_SCALE))
    base = tensors.base_tensor()
    return merged.mul_(options.lam).view_as(base).add_(base)


def _scale_of_code(tau: Tensor, taus: Sequence[Tensor], together: Tensor, r: float) -> Tensor:
    """minmax(max(score, floor)), score = exp(N x^2) tanh(tau sum_j tau_j), x = minmax|tau|.

    Args:
        tau: flattened task vector of D entries, one of the N `taus`, whose sum is `together`.
    """
    score = _minmax(tau.abs()).square_().mul_(len(taus)).exp_().mul_((tau * together).tanh_())
    return _minmax(score.clamp_(min=_floor(score, r)))


def _scale_of_paper(tau: Tensor, taus: Sequence[Tensor], together: Tensor, r: float) -> Tensor:
    """The score where it reaches the floor, else 0.

    score = softmax(N minmax(tau^2)) sum_j softmax(minmax(tau tau_j)). Each softmax is over the tensor's
    entries, and multiplied by their number: a factor common to all models, which keeps the scores of large
    tensors away from 0.
    """
    score = torch.zeros_like(together)
    for other in taus:
        score += _softmax(_minmax(tau * other))
    score.mul_(_softmax(_minmax(tau.square()).mul_(len(taus))))
    return score.mul_(score >= _floor(score, r))


def _minmax(values: Tensor) -> Tensor:
    """The values, moved and scaled to [0, 1] in place; a constant becomes 0."""
    least, most = torch.aminmax(values)
    if not float(most - least) > 0:
        return values.zero_()
    return values.sub_(least).div_(most - least)


def _floor(score: Tensor, r: float) -> float:
    n = score.numel()
    return order_statistic(score, min(math.floor(n * (1 - r)), n - 1))


def _softmax(values: Tensor) -> Tensor:
    return torch.softmax(values, dim=0).mul_(values.numel())
