"""Spherical interpolation between two models, tensor by tensor.

Source: Shoemake 1985, 10.1145/325334.325242. Where we differ, as mergekit does: the tensors keep their norms,
and nearly parallel ones are interpolated on a line.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from aggregators.weights.rows import MergeOptions, Tensors

NEARLY_PARALLEL = 0.9995
LEAST_NORM = 1e-8
CHUNK = 1 << 20


class SlerpOptions(MergeOptions):
    """
    Args:
        t: 0 = the base, 1 = the other model.
    """

    t: Annotated[float, Field(ge=0, le=1)] = 0.5


def merge(tensors: Tensors, options: SlerpOptions) -> Tensor:
    """[sin((1 - t)O) a + sin(t O) b] / sin O of the flattened tensors, O the angle between them.

    a and b keep their norms. Where |cos O| > 0.9995: (1 - t) a + t b. A norm up to 1e-8 counts as 1.

    Returns:
        In the base's shape, in `dtype`.
    """
    a, b = tensors.base_tensor(), tensors.models[0].to(tensors.dtype)
    cos = _cosine(a, b)
    if abs(cos) > NEARLY_PARALLEL:
        return (a * (1 - options.t)).add_(b, alpha=options.t)
    angle = math.acos(cos)
    of_a = math.sin((1 - options.t) * angle) / math.sin(angle)
    of_b = math.sin(options.t * angle) / math.sin(angle)
    return (a * of_a).add_(b, alpha=of_b)


def _cosine(a: Tensor, b: Tensor) -> float:
    """<a/|a|, b/|b|>, in [-1, 1] but for rounding; a norm up to 1e-8 is not divided by."""
    return _dot(a, b) / (_norm(a) * _norm(b))


def _dot(a: Tensor, b: Tensor) -> float:
    """The inner product of the flattened tensors, in float64 a part at a time."""
    parts = zip(torch.split(a.reshape(-1), CHUNK), torch.split(b.reshape(-1), CHUNK), strict=True)
    return math.fsum(float(torch.dot(x.double(), y.double())) for x, y in parts)


def _norm(tensor: Tensor) -> float:
    norm = math.sqrt(_dot(tensor, tensor))
    return norm if norm > LEAST_NORM else 1.0
