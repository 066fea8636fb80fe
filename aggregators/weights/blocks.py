"""Blocks of tensors: what is done entry by entry is done a block at a time, within caches."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from aggregators.weights.rows import Tensors
from aggregators.weights.sums import weighted_sum

BLOCK = 1 << 17
"""Entries of a block: half a megabyte in float32, which allocators keep at hand between blocks."""
BLOCK_ON_DEVICE = 1 << 24
"""The same on a GPU, where a launch costs as much as a hundred thousand entries."""

OfBlock = Callable[[slice, list[Tensor]], Tensor]
"""What is added to the base in a block: from its place in the flattened tensor and the task vectors there."""


class Kept(NamedTuple):
    """Entries of a task vector that are kept, and what they are multiplied by.

    Attributes:
        mask: bool, flattened; None = all.
    """

    mask: Tensor | None = None
    scale: float = 1.0

    def of(self, tau: Tensor, place: slice) -> Tensor:
        """The task vector's block with what is not kept set to 0; `tau` may be modified."""
        if self.mask is not None:
            tau.mul_(self.mask[place])
        return tau if self.scale == 1 else tau.mul_(self.scale)


NOTHING_DROPPED = Kept()


def add_to_base(tensors: Tensors, of: OfBlock, *, lam: float) -> Tensor:
    """theta_0 + lambda of(place, taus), block by block; the task vectors are `of`'s to modify."""
    base = tensors.base_as_stored().reshape(-1)
    models = [model.reshape(-1) for model in tensors.models]
    merged = torch.empty(base.shape, dtype=tensors.out_dtype, device=base.device)
    for place in places(base):
        theta = base[place].to(tensors.dtype)
        taus = [torch.sub(model[place].to(tensors.dtype), theta) for model in models]
        merged[place] = of(place, taus).mul_(lam).add_(theta)
    return merged.view(tensors.models[0].shape)


def weighted_models(tensors: Tensors, weights: Sequence[float], *, divisor: float = 1.0) -> Tensor:
    """sum_i w_i theta_i / divisor, block by block."""
    models = [model.reshape(-1) for model in tensors.models]
    merged = torch.empty(models[0].shape, dtype=tensors.out_dtype, device=models[0].device)
    for place in places(models[0]):
        total = weighted_sum([model[place] for model in models], weights, tensors.dtype)
        merged[place] = total if divisor == 1 else total.div_(divisor)
    return merged.view(tensors.models[0].shape)


def magnitudes(tensors: Tensors, position: int) -> Tensor:
    """|tau| of one model, flattened."""
    base, model = tensors.base_as_stored().reshape(-1), tensors.models[position].reshape(-1)
    found = torch.empty(base.shape, dtype=tensors.dtype, device=base.device)
    for place in places(base):
        part = found[place]
        torch.sub(model[place].to(tensors.dtype), base[place].to(tensors.dtype), out=part).abs_()
    return found


def places(tensor: Tensor) -> Iterator[slice]:
    """Slices that cover a flattened tensor, of as many entries as suit its device."""
    n, block = tensor.numel(), BLOCK if tensor.device.type == "cpu" else BLOCK_ON_DEVICE
    return (slice(begin, min(begin + block, n)) for begin in range(0, n, block))
