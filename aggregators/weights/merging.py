"""One tensor of several models merged by the name of a method, and the table of methods.

Sources: each row's `paper`; what holds for all of them is ours (docs/methods.md, section 9).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from pydantic import JsonValue
from torch import Tensor

from aggregators.weights import (
    breadcrumbs,
    compeft,
    dare,
    linear,
    pcb,
    reversible,
    slerp,
    task_arithmetic,
    ties,
    tsvm,
    twin,
)
from aggregators.weights.checks import (
    computing_dtype,
    is_same,
    is_whole,
    require_finite,
    require_same_shape,
)
from aggregators.weights.rows import MergeRow, Tensors, merge_row
from orchestrator.errors import MergeError
from orchestrator.tables import NameTable

ARXIV = "https://arxiv.org/abs/"
ALL_KEPT = MappingProxyType({"density": 1.0})
ALL_KEPT_BY_L1 = MappingProxyType({"density": 1.0, "rescale": True})

MERGE_METHODS: NameTable[MergeRow] = NameTable(
    "merge method",
    {
        "linear": merge_row(
            "linear", linear.LinearOptions, linear.merge, ARXIV + "2203.05482", needs_base=False
        ),
        "slerp": merge_row(
            "slerp",
            slerp.SlerpOptions,
            slerp.merge,
            "https://doi.org/10.1145/325334.325242",
            takes_products=False,
            most=1,
        ),
        "task_arithmetic": merge_row(
            "task_arithmetic",
            task_arithmetic.TaskArithmeticOptions,
            task_arithmetic.merge,
            ARXIV + "2212.04089",
        ),
        "ties": merge_row(
            "ties", ties.TiesOptions, ties.merge, ARXIV + "2306.01708", recipe_defaults=ALL_KEPT
        ),
        "dare_linear": merge_row(
            "dare_linear",
            dare.DareOptions,
            dare.merge_linear,
            ARXIV + "2311.03099",
            recipe_defaults=ALL_KEPT_BY_L1,
        ),
        "dare_ties": merge_row(
            "dare_ties",
            dare.DareOptions,
            dare.merge_ties,
            ARXIV + "2311.03099",
            recipe_defaults=ALL_KEPT_BY_L1,
        ),
        "breadcrumbs": merge_row(
            "breadcrumbs",
            breadcrumbs.BreadcrumbsOptions,
            breadcrumbs.merge_plain,
            ARXIV + "2312.06795",
            recipe_defaults=ALL_KEPT,
        ),
        "breadcrumbs_ties": merge_row(
            "breadcrumbs_ties",
            breadcrumbs.BreadcrumbsOptions,
            breadcrumbs.merge_ties,
            ARXIV + "2312.06795",
            recipe_defaults=ALL_KEPT,
        ),
        "pcb": merge_row("pcb", pcb.PcbOptions, pcb.merge, ARXIV + "2410.02396"),
        "tsvm": merge_row("tsvm", tsvm.TsvmOptions, tsvm.merge, ARXIV + "2412.00081", acts_on="matrix"),
        "r_tsvm": merge_row(
            "r_tsvm", tsvm.TsvmOptions, tsvm.merge_robust, ARXIV + "2502.06876", acts_on="matrix"
        ),
        "twin": merge_row("twin", twin.TwinOptions, twin.merge, ARXIV + "2406.15479", acts_on="adapters"),
        "reversible": merge_row(
            "reversible",
            reversible.ReversibleOptions,
            reversible.merge,
            ARXIV + "2510.14163",
            needs_base=False,
            acts_on="adapters",
            takes_products=False,
        ),
        "compeft": merge_row(
            "compeft",
            compeft.CompeftOptions,
            compeft.merge,
            ARXIV + "2311.13171",
            acts_on="adapters",
            takes_products=False,
            most=1,
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
    model changes, are the base's, bit for bit. Nothing is modified in place; the result may be an input.

    Args:
        base: theta_0, [S], any shape; None for methods without one.
        models: theta_i, [S] each, in the recipe's order.
        params: the method's options; numbers or one number per model. `lambda` may be called `lam`.
        name: the tensor's; random masks and errors go by it.
        out_dtype: of the result; None = the base's, without one the first model's.

    Returns:
        [S] in `out_dtype`; integers in their own dtype.

    Raises:
        UnknownNameError: no such method.
        ConfigError: an option that the method does not have, or a value out of range.
        IncompatibleModelsError: shapes that differ, or quantised or complex tensors.
        MergeError: weights that cannot be, a base that is missing, too many or too few models, integers that
            differ where there is no base, NaN or infinity in an input or the result.
    """
    row = MERGE_METHODS.find(method)
    _require_models(method, row, base, len(models), name)
    given = tuple(models) if base is None else (base, *models)
    require_same_shape(name, given)
    if is_whole(given):
        return _copied(name, base, models)
    tensors = Tensors(
        name=name,
        base=base,
        models=tuple(models),
        dtype=computing_dtype(name, given),
        out_dtype=out_dtype or given[0].dtype,
    )
    for number, tensor in enumerate(given):
        require_finite(name, tensor, where=_whose(number, base))
    merged = row.merge(tensors, in_python(params)) if given[0].numel() else given[0]
    if row.needs_base and all(is_same(given[0], model) for model in models):
        merged = given[0]
    result = merged.to(tensors.out_dtype)
    require_finite(name, result, where=f"of the result of '{method}'")
    return result


def _whose(number: int, base: Tensor | None) -> str:
    if base is None:
        return f"of model {number + 1}"
    return f"of model {number}" if number else "of the base"


def in_python(params: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Options by their names in Python: `lambda` is a word of the language.

    Raises:
        MergeError: one is given under both names.
    """
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
