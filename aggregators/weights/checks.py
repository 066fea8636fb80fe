"""Checks of tensors before and after a merge; every refusal names the tensor.

Ours: mergekit merges what it is given, and writes NaN. Tensors are of any shape and are not modified; `name`
is theirs, for errors.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from orchestrator.errors import IncompatibleModelsError, MergeError

PLAIN = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
"""What models are merged in. Eight-bit floats are quantised: they mean something with their scales only."""

WHOLE = frozenset({torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
N_FIRST = 4096


def computing_dtype(name: str, tensors: Sequence[Tensor]) -> torch.dtype:
    """float64 where a tensor has it, else float32.

    Raises:
        IncompatibleModelsError: a quantised or complex tensor.
    """
    for tensor in tensors:
        if tensor.dtype not in PLAIN:
            raise IncompatibleModelsError(
                f"tensor '{name}' is {_short(tensor.dtype)}: it cannot be merged.",
                param=name,
                remedy="Bring float32, float16 or bfloat16 weights; dequantise the model first.",
            )
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def require_same_shape(name: str, tensors: Sequence[Tensor]) -> None:
    """All tensors have one shape.

    Raises:
        IncompatibleModelsError: they do not.
    """
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len(set(shapes)) > 1:
        raise IncompatibleModelsError(
            f"tensor '{name}' has different shapes: {', '.join(map(str, shapes))}.",
            param=name,
            remedy="Merge models of one architecture and one vocabulary.",
        )


def is_whole(tensors: Sequence[Tensor]) -> bool:
    """All tensors hold integers or truth values, which are copied and never merged."""
    return all(tensor.dtype in WHOLE for tensor in tensors)


def is_same(one: Tensor, other: Tensor) -> bool:
    """Equal dtype, shape, device and values; NaN equals nothing."""
    if one.dtype != other.dtype or one.shape != other.shape or one.device != other.device:
        return False
    first, second = one.reshape(-1), other.reshape(-1)
    return torch.equal(first[:N_FIRST], second[:N_FIRST]) and torch.equal(first, second)


def require_finite(name: str, tensor: Tensor, *, where: str) -> None:
    """No NaN and no infinity in the tensor; `where` ends "n of m numbers …" in the error.

    Raises:
        MergeError: there is one.
    """
    if tensor.numel() and not is_finite(tensor):
        n = int((~torch.isfinite(tensor)).sum())
        raise MergeError(
            f"tensor '{name}': {n} of {tensor.numel()} numbers {where} are NaN or infinite.",
            param=name,
            remedy="Bring sound weights, smaller weights of the models, or a wider output dtype.",
        )


def is_finite(tensor: Tensor) -> bool:
    """No NaN and no infinity in a tensor of at least one number.

    One pass, no copy: the least and the largest are NaN where any is.
    """
    least, most = torch.aminmax(tensor)
    return bool(torch.isfinite(least) & torch.isfinite(most))


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
