"""Aggregation over weights: the models of several experts become one, tensor by tensor.

A merge method is one file with pure functions of tensors, its options, and one row of `MERGE_METHODS` here.
Definitions: docs/methods.md, section "Merging".
"""

from collections.abc import Mapping, Sequence

import torch
from pydantic import JsonValue
from torch import Tensor

from aggregators.weights import linear, slerp, task_arithmetic, ties
from aggregators.weights.checks import (
    computing_dtype,
    is_same,
    is_whole,
    require_finite,
    require_same_shape,
)
from aggregators.weights.rows import MergeRow, Tensors, with_options
from orchestrator.errors import MergeError
from orchestrator.tables import NameTable

__all__ = ["MERGE_METHODS", "MergeRow", "merge_tensor"]

ARXIV = "https://arxiv.org/abs/"

MERGE_METHODS: NameTable[MergeRow] = NameTable(
    "merge method",
    {
        "linear": MergeRow(
            with_options("linear", linear.LinearOptions, linear.merge),
            linear.LinearOptions,
            ARXIV + "2203.05482",
            needs_base=False,
        ),
        "slerp": MergeRow(
            with_options("slerp", slerp.SlerpOptions, slerp.merge),
            slerp.SlerpOptions,
            "https://doi.org/10.1145/325334.325242",
            most=1,
        ),
        "task_arithmetic": MergeRow(
            with_options("task_arithmetic", task_arithmetic.TaskArithmeticOptions, task_arithmetic.merge),
            task_arithmetic.TaskArithmeticOptions,
            ARXIV + "2212.04089",
        ),
        "ties": MergeRow(
            with_options("ties", ties.TiesOptions, ties.merge),
            ties.TiesOptions,
            ARXIV + "2306.01708",
            recipe_defaults={"density": 1.0},
        ),
    },
    param="merge_method",
)


def merge_tensor(
    method: str,
    base: Tensor | None,
    models: Sequence[Tensor],
    params: Mapping[str, JsonValue],
    *,
    name: str,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """Merge one tensor of several models.

    Computed in float32 (float64 where an input is float64) and rounded once. Integers, and tensors that no
    model changes, are the base's, bit for bit.

    Args:
        base: theta_0; None for methods without one.
        models: theta_i, in the recipe's order; not modified.
        params: the method's options; numbers or one number per model. `lambda` may be called `lam`.
        name: the tensor's; random masks and errors go by it.
        out_dtype: of the result; None = the base's, without one the first model's.

    Raises:
        UnknownNameError: no such method.
        ConfigError: an option that the method does not have, or a value out of range.
        IncompatibleModelsError: shapes that differ, quantised tensors, or too many or too few models.
        MergeError: weights that cannot be, a base that is missing, NaN or infinity in an input or the result.
    """
    row = MERGE_METHODS.find(method)
    _require_models(method, row, base, len(models), name)
    given = tuple(models) if base is None else (base, *models)
    require_same_shape(name, given)
    if is_whole(given):
        return _copied(name, base, models)
    tensors = Tensors(name=name, base=base, models=tuple(models), dtype=computing_dtype(name, given))
    for number, tensor in enumerate(given):
        require_finite(name, tensor, where=_whose(number, base))
    merged = row.merge(tensors, _in_python(params)) if given[0].numel() else given[0]
    if row.needs_base and all(is_same(given[0], model) for model in models):
        merged = given[0]
    result = merged.to(out_dtype or given[0].dtype)
    require_finite(name, result, where=f"of the result of '{method}'")
    return result


def _whose(number: int, base: Tensor | None) -> str:
    if base is None:
        return f"of model {number + 1}"
    return f"of model {number}" if number else "of the base"


def _in_python(params: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Options by their names in Python: `lambda` is a word of the language."""
    if "lambda" in params and "lam" in params:
        raise MergeError(
            "'lambda' and 'lam' are the same option.", param="lambda", remedy="Give one of them."
        )
    return {"lam" if name == "lambda" else name: value for name, value in params.items()}


def _copied(name: str, base: Tensor | None, models: Sequence[Tensor]) -> Tensor:
    first = models[0] if base is None else base
    if base is None and not all(is_same(first, model) for model in models):
        raise MergeError(
            f"tensor '{name}' holds integers, which differ between the models and cannot be merged.",
            param=name,
            remedy="Name a base model, whose integers are taken.",
        )
    return first


def _require_models(method: str, row: MergeRow, base: Tensor | None, n: int, name: str) -> None:
    if row.needs_base and base is None:
        raise MergeError(
            f"tensor '{name}': merge method '{method}' needs a base model.",
            param="base_model",
            remedy="Name it as base_model.",
        )
    if n < row.least or (row.most is not None and n > row.most):
        allowed = f"at least {row.least}" if row.most is None else f"{row.least} to {row.most}"
        if row.least == row.most:
            allowed = f"exactly {row.least}"
        beside = " beside the base" if row.needs_base else ""
        raise MergeError(
            f"tensor '{name}': merge method '{method}' takes {allowed} model(s){beside}, not {n}.",
            param="models",
            remedy="Name as many models as it takes.",
        )
