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
    """theta_0 + lambda sum_i scale_i tau_i / max(sum_i scale_i, 1e-12), entry by entry."""
    taus = [tau.reshape(-1) for tau in tensors.task_vectors()]
    scales = scales_of_code if options.variant == "code" else scales_of_paper
    total = torch.zeros_like(taus[0])
    divisor = torch.zeros_like(taus[0])
    for tau, scale in zip(taus, scales(taus, options.r), strict=True):
        total += scale * tau
        divisor += scale
    merged = total.div_(divisor.clamp_(min=LEAST_SCALE))
    base = tensors.base_tensor()
    return base.add(merged.view_as(base), alpha=options.lam)


def scales_of_code(taus: Sequence[Tensor], r: float) -> list[Tensor]:
    """minmax(max(score_i, floor_i)), score_i = exp(N x_i^2) tanh(tau_i sum_j tau_j), x_i = minmax|tau_i|.

    Args:
        taus: N flattened task vectors of D entries.
    """
    together = sum_of(taus)
    scales = []
    for tau in taus:
        score = minmax(tau.abs()).square_().mul_(len(taus)).exp_() * torch.tanh(tau * together)
        scales.append(minmax(score.clamp_(min=_floor(score, r))))
    return scales


def scales_of_paper(taus: Sequence[Tensor], r: float) -> list[Tensor]:
    """score_i where it reaches floor_i, else 0.

    score_i = softmax(N minmax(tau_i^2)) sum_j softmax(minmax(tau_i tau_j)).
    Each softmax is over the tensor's entries, and multiplied by their number: a factor common to all models,
    which keeps the scores of large tensors away from 0.
    """
    scales = []
    for tau in taus:
        intra = _softmax(minmax(tau.square()).mul_(len(taus)))
        inter = sum_of([_softmax(minmax(tau * other)) for other in taus])
        score = intra * inter
        scales.append(score * (score >= _floor(score, r)))
    return scales


def minmax(values: Tensor) -> Tensor:
    """Values moved and scaled to [0, 1]; a constant becomes 0."""
    least, most = torch.aminmax(values)
    if not float(most - least) > 0:
        return torch.zeros_like(values)
    return (values - least).div_(most - least)


def _floor(score: Tensor, r: float) -> float:
    n = score.numel()
    return order_statistic(score, min(math.floor(n * (1 - r)), n - 1))


def _softmax(values: Tensor) -> Tensor:
    return torch.softmax(values, dim=0).mul_(values.numel())
