"""Blocks of tensors: what is done entry by entry is done a block at a time, within caches.

Ours: how the methods of docs/methods.md, section 9, are computed, not what they are.

Shapes: S the tensor's own, n its entries when flattened, k those of a block.
"""

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
        mask: bool, [n]; None = all.
        scale: > 0.
    """

    mask: Tensor | None = None
    scale: float = 1.0

    def of(self, tau: Tensor, place: slice) -> Tensor:
        """The task vector's block with what is not kept set to 0, and scaled.

        Args:
            tau: float, [k]; modified in place, and returned.
            place: where the block lies in the flattened tensor.
        """
        if self.mask is not None:
            tau.mul_(self.mask[place])
        return tau if self.scale == 1 else tau.mul_(self.scale)


NOTHING_DROPPED = Kept()


def add_to_base(tensors: Tensors, of: OfBlock, *, lam: float) -> Tensor:
    """theta_0 + lambda of(place, taus), block by block; [S], in `out_dtype`.

    Args:
        of: is given new tensors, [k] in `dtype`, and may modify them; what it returns is modified.
        lam: lambda, of any sign.

    Raises:
        MergeError: there is no base.
    """
    base = tensors.base_as_stored().reshape(-1)
    models = [model.reshape(-1) for model in tensors.models]
    merged = torch.empty(base.shape, dtype=tensors.out_dtype, device=base.device)
    for place in places(base):
        theta = base[place].to(tensors.dtype)
        taus = [torch.sub(model[place].to(tensors.dtype), theta) for model in models]
        merged[place] = of(place, taus).mul_(lam).add_(theta)
    return merged.view(tensors.models[0].shape)


def weighted_models(tensors: Tensors, weights: Sequence[float], *, divisor: float = 1.0) -> Tensor:
    """sum_i w_i theta_i / divisor, block by block; [S], in `out_dtype`.

    Args:
        divisor: not 0.
    """
    models = [model.reshape(-1) for model in tensors.models]
    merged = torch.empty(models[0].shape, dtype=tensors.out_dtype, device=models[0].device)
    for place in places(models[0]):
        total = weighted_sum([model[place] for model in models], weights, tensors.dtype)
        merged[place] = total if divisor == 1 else total.div_(divisor)
    return merged.view(tensors.models[0].shape)


def magnitudes(tensors: Tensors, position: int) -> Tensor:
    """|tau| of one model, a new tensor: [n] in `dtype`.

    Args:
        position: of the model, from 0.

    Raises:
        MergeError: there is no base.
    """
    base, model = tensors.base_as_stored().reshape(-1), tensors.models[position].reshape(-1)
    found = torch.empty(base.shape, dtype=tensors.dtype, device=base.device)
    for place in places(base):
        part = found[place]
        torch.sub(model[place].to(tensors.dtype), base[place].to(tensors.dtype), out=part).abs_()
    return found


def places(tensor: Tensor) -> Iterator[slice]:
    """Slices that cover a flattened tensor, [n], in order, of as many entries as suit its device."""
    n, block = tensor.numel(), BLOCK if tensor.device.type == "cpu" else BLOCK_ON_DEVICE
    return (slice(begin, min(begin + block, n)) for begin in range(0, n, block))
