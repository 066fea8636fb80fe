"""Logits as callers bring them: by role, of one shape, float32; refused where a rule could only go wrong.

Ours: the papers take it for granted that logits fit.

Shapes: B rows, V vocabulary, N members of a role that has many.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aggregators.logits.rule import LogitRule, Role
from orchestrator.errors import IncompatibleModelsError, InputError

if TYPE_CHECKING:
    from torch import Tensor


def checked(owner: str, rule: LogitRule, logits: Mapping[str, object]) -> dict[str, "Tensor"]:
    """Float32 tensors by role, [B, V] or [N, B, V]; not modified, and perhaps the caller's own.

    Args:
        owner: rule, as errors name it.
        logits: tensors or arrays of real numbers, by role or by its synonym.

    Raises:
        InputError: a role that is missing or unknown, a shape that does not fit, NaN, +inf, or a row in which
            nothing is finite.
        IncompatibleModelsError: vocabularies of different sizes.
    """
    given = _by_role(owner, rule.roles, logits)
    tensors = {role.name: _tensor(owner, role, given[role.name]) for role in rule.roles}
    _check_shapes(owner, tensors)
    for name, tensor in tensors.items():
        _check_numbers(owner, name, tensor)
    return tensors


def _by_role(owner: str, roles: Sequence[Role], logits: Mapping[str, object]) -> dict[str, object]:
    names = {role.synonym: role.name for role in roles if role.synonym} | {
        role.name: role.name for role in roles
    }
    wanted = ", ".join(role.name for role in roles)
    given: dict[str, object] = {}
    for key, value in logits.items():
        if key not in names:
            raise InputError(f"{owner} has no role '{key}'.", param="logits", remedy=f"It has: {wanted}.")
        if names[key] in given:
            raise InputError(
                f"{owner}: role '{names[key]}' is given twice.", param="logits", remedy="Give it once."
            )
        given[names[key]] = value
    missing = [role.name for role in roles if role.name not in given]
    if missing:
        message = f"{owner} lacks the logits of {', '.join(missing)}."
        raise InputError(message, param="logits", remedy=f"Give all of: {wanted}.")
    return given


def _tensor(owner: str, role: Role, value: object) -> "Tensor":
    import numpy as np
    import torch

    form = "[members, rows, vocabulary]" if role.many else "[rows, vocabulary]"
    try:
        tensor = value if isinstance(value, torch.Tensor) else torch.tensor(np.asarray(value))
        if tensor.is_complex():
            raise TypeError("complex numbers")
    except (TypeError, ValueError, RuntimeError) as error:
        message = f"{owner}: the logits of '{role.name}' are no array of numbers: {error}."
        raise InputError(message, param="logits", remedy=f"Give an array {form}.") from None
    if tensor.dim() != 2 + role.many or 0 in tensor.shape:
        raise InputError(
            f"{owner}: the logits of '{role.name}' have the shape {list(tensor.shape)}.",
            param="logits",
            remedy=f"Give an array {form}, none of them 0.",
        )
    return tensor.float()


def _check_shapes(owner: str, tensors: Mapping[str, "Tensor"]) -> None:
    widths = {name: tensor.shape[-1] for name, tensor in tensors.items()}
    if len(set(widths.values())) > 1:
        stated = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise IncompatibleModelsError(
            f"{owner}: vocabularies of different sizes: {stated}.",
            param="logits",
            remedy="Fuse models of one tokenizer, and cut logits to its length.",
        )
    rows = {name: tensor.shape[-2] for name, tensor in tensors.items()}
    if len(set(rows.values())) > 1:
        stated = ", ".join(f"{name} {n}" for name, n in rows.items())
        raise InputError(
            f"{owner}: different numbers of rows: {stated}.",
            param="logits",
            remedy="Give one row per sequence.",
        )


def _check_numbers(owner: str, name: str, tensor: "Tensor") -> None:
    if bool(tensor.isnan().any()):
        wrong = "hold NaN"
    elif bool((tensor == float("inf")).any()):
        wrong = "hold +inf"
    elif not bool(tensor.isfinite().any(-1).all()):
        wrong = "have a row in which nothing is finite"
    else:
        return
    raise InputError(
        f"{owner}: the logits of '{name}' {wrong}.",
        param="logits",
        remedy="Check the model's weights; −inf is allowed, for tokens that are banned.",
    )
