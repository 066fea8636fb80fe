"""Merging LoRA adapters: methods act on the products s·BA of a module, in place of task vectors.

The result is a matrix to add to the base's weight (`merged_product`), or an adapter again (`merged_adapter`).
Source: arXiv:2510.14163, by which A and B merged apart collapse; the methods' own stand in their rows.

Shapes: the module's weight is [m, n].
"""

from collections.abc import Mapping, Sequence

import torch
from pydantic import JsonValue
from torch import Tensor

from aggregators.weights.linear import LinearOptions
from aggregators.weights.lora import Lora, concatenate, factor, product, require_one_module, truncate
from aggregators.weights.merging import MERGE_METHODS, in_python, merge_tensor
from aggregators.weights.rows import Tensors
from aggregators.weights.sums import divisor_of
from aggregators.weights.task_arithmetic import TaskArithmeticOptions
from orchestrator.errors import MergeError
from orchestrator.options import parse_options


def merged_product(
    method: str, adapters: Sequence[Lora], params: Mapping[str, JsonValue], *, name: str
) -> Tensor:
    """The matrix that the merged expert adds to the module's weight: float32 (float64 of float64), [m, n].

    Args:
        adapters: one per expert; of rank 0 for an expert that does not change the module. Not modified.
        params: as of `merge_tensor`.
        name: the weight's in the base model.

    Raises:
        MergeError: a method that needs whole weights, or what `merge_tensor` raises it for.
        IncompatibleModelsError: adapters of modules of different sizes.
    """
    _require_takes_products(method)
    require_one_module(adapters, name=name)
    products = [product(adapter) for adapter in adapters]
    row = MERGE_METHODS.find(method)
    zeros = torch.zeros_like(products[0]) if row.needs_base and products else None
    return merge_tensor(method, zeros, products, params, name=name)


def merged_adapter(
    method: str,
    adapters: Sequence[Lora],
    params: Mapping[str, JsonValue],
    *,
    name: str,
    rank: int | None = None,
) -> Lora:
    """The merged expert's adapter of the module, with scale 1.

    `linear` and `task_arithmetic` are exact: factors side by side. Other methods leave a matrix of any rank,
    which is cut to `rank` by its singular values; so are these two where their ranks sum to more than `rank`.

    Args:
        adapters, params, name: as of `merged_product`.
        rank: of the adapter, at most; None = as needed, for the two exact methods only.

    Raises:
        MergeError: no `rank` for a method that needs one, or what `merged_product` raises it for.
        IncompatibleModelsError: adapters of modules of different sizes.
    """
    _require_takes_products(method)
    require_one_module(adapters, name=name)
    weights = _plain_weights(method, adapters, params, name)
    if weights is not None:
        whole = concatenate(adapters, weights, name=name)
        return whole if rank is None or whole.rank <= rank else truncate(whole, rank)
    if rank is None:
        raise MergeError(
            f"merge method '{method}' makes matrices of any rank.",
            param="rank",
            remedy="Set rank, or output: full.",
        )
    return factor(merged_product(method, adapters, params, name=name), rank, name=name)


def _plain_weights(
    method: str, adapters: Sequence[Lora], params: Mapping[str, JsonValue], name: str
) -> tuple[float, ...] | None:
    """Factors of the products whose sum is the merge; None where it is no such sum."""
    tensors = Tensors(
        name=name,
        base=None,
        models=tuple(item.b for item in adapters),
        dtype=torch.float32,
        out_dtype=torch.float32,
    )
    if method == "linear":
        linear = parse_options("merge method 'linear'", LinearOptions, in_python(params))
        weights = tensors.weights(linear.weight, may_be_negative=True)
        return _shares(name, weights) if linear.normalize else weights
    if method == "task_arithmetic":
        tasks = parse_options("merge method 'task_arithmetic'", TaskArithmeticOptions, in_python(params))
        weights = tensors.weights(tasks.weight, may_be_negative=True)
        weights = _shares(name, weights) if tasks.normalize else weights
        return tuple(weight * tasks.lam for weight in weights)
    return None


def _shares(name: str, weights: tuple[float, ...]) -> tuple[float, ...]:
    divisor = divisor_of(name, weights)
    return tuple(weight / divisor for weight in weights)


def _require_takes_products(method: str) -> None:
    if not MERGE_METHODS.find(method).takes_products:
        taking = ", ".join(sorted(name for name, row in MERGE_METHODS.items() if row.takes_products))
        raise MergeError(
            f"merge method '{method}' does not act on the products of adapters.",
            param="merge_method",
            remedy=f"These do: {taking}.",
        )
