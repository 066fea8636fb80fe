"""Twin merging: what experts share as one model, what is particular to each as a low-rank adapter.

Source: arXiv:2406.15479. Served as one composed adapter per mixture, with the router's weights folded in.

Shapes: m outputs and n inputs of a module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field
from torch import Tensor

from aggregators.weights.blocks import NOTHING_DROPPED
from aggregators.weights.lora import Lora, concatenate, factor, product
from aggregators.weights.matrices import is_matrix
from aggregators.weights.rows import Finite, MergeOptions, PerModel, Tensors
from aggregators.weights.task_arithmetic import plain_sum

STEP = 0.1
"""Weights of composed adapters are rounded to multiples of it, so that mixtures recur."""


class TwinOptions(MergeOptions):
    """
    Args:
        weight: of every expert in the mixture; None = equal shares.
        gamma: scale of the sum of task vectors in the shared model.
        r: rank of each expert's adapter, at most that of the matrix.
    """

    weight: PerModel | None = None
    gamma: Finite = 0.3
    r: Annotated[int, Field(ge=1)] = 32


def merge(tensors: Tensors, options: TwinOptions) -> Tensor:
    """theta(w) = shared + sum w_i E_i, E_i the rank-r part of theta_i - shared; shared where no matrix is.

    Returns:
        In the models' shape, in `dtype`.
    """
    shared = _shared_tensor(replace(tensors, out_dtype=tensors.dtype), options.gamma)
    if not is_matrix(tensors.name, shared):
        return shared
    n = len(tensors.models)
    weights = tensors.per_model("weight", 1 / n if options.weight is None else options.weight)
    adapters = [
        expert_adapter(model, shared, options.r, name=tensors.name)
        for model, weight in zip(tensors.models, weights, strict=True)
        if weight
    ]
    used = [weight for weight in weights if weight]
    return shared + product(concatenate(adapters, used, name=tensors.name)) if used else shared


def _shared_tensor(tensors: Tensors, gamma: float) -> Tensor:
    """theta_0 + gamma sum tau; any other merge may stand in its place."""
    n = len(tensors.models)
    return plain_sum(tensors, [NOTHING_DROPPED] * n, [1.0] * n, normalize=False, lam=gamma)


def expert_adapter(model: Tensor, shared: Tensor, rank: int, *, name: str) -> Lora:
    """E_i: the rank-r part of theta_i - shared, as an adapter in the dtype of `shared`.

    Args:
        model, shared: float, [m, n]; not modified.
        rank: r >= 0.
        name: the tensor's, by which large matrices' random vectors are drawn.
    """
    return factor(model.to(shared.dtype) - shared, rank, name=name)


def compose(
    experts: Sequence[Mapping[str, Lora]], weights: Sequence[float], *, step: float | None = STEP
) -> dict[str, Lora]:
    """One adapter of several: factors side by side, each expert's weight folded into B.

    Args:
        experts: adapters by module, of every expert; a module that an expert lacks is one it does not change.
        weights: of the experts, of any sign.
        step: > 0; weights are rounded to multiples of it; None = as they are.

    Returns:
        The adapter by module, with scale 1; experts of weight 0 take no rank.

    Raises:
        IncompatibleModelsError: adapters of a module that are of different sizes.
    """
    used = rounded(weights, step) if step else tuple(weights)
    composed = {}
    for module in sorted({module for expert in experts for module in expert}):
        having = [(expert[module], w) for expert, w in zip(experts, used, strict=True) if module in expert]
        adapters, shares = [adapter for adapter, _ in having], [w for _, w in having]
        composed[module] = concatenate(adapters, shares, name=module)
    return composed


def rounded(weights: Sequence[float], step: float = STEP) -> tuple[float, ...]:
    """Weights as multiples of `step`, > 0: what composed adapters are cached by."""
    return tuple(round(round(weight / step) * step, 9) for weight in weights)
