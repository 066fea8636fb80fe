"""Memory of a decoding engine, counted tensor by tensor: its weights, and its caches at their widest."""

from collections.abc import Iterable

import torch
from torch import Tensor

from orchestrator.ports.engines import EngineMemory
from workers.backends.decoding.batch import Batch

GIB = 1 << 30
NOTED_STEP = 1.1
"""Caches are counted again when a batch has grown by so much: counting at each step would cost time."""
COPIES = 2
"""Of the caches, while rows join: what was there and what is made of it."""


class Scale:
    """Weighs one engine.

    Args:
        tensors: its weights; what shares memory counts once.
    """

    def __init__(self, tensors: Iterable[Tensor], device: torch.device) -> None:
        self._weights = n_bytes(tensors)
        self._device = device
        self._cache = self._most_cache = 0
        self._noted = 0.0

    def note(self, batch: Batch | None) -> None:
        """Count the caches of the batch that runs, if they grew much since they were counted."""
        if batch is None:
            self._cache, self._noted = 0, 0.0
            return
        size = sum(rectangle.tokens.numel() for rectangle in batch.rectangles)
        if size > NOTED_STEP * self._noted:
            self._noted = float(size)
            self._cache = sum(rectangle.cache.n_bytes for rectangle in batch.rectangles)
            self._most_cache = max(self._most_cache, self._cache)

    def weigh(self) -> EngineMemory:
        """Memory that the engine holds; on CUDA also what its device has left."""
        free = free_bytes(self._device) / GIB if self._device.type == "cuda" else None
        held = self._weights + COPIES * self._cache
        return EngineMemory(held / GIB, (self._weights + COPIES * self._most_cache) / GIB, free)


def free_bytes(device: torch.device) -> int:
    """Memory of a GPU that this process's next engine may have: what nobody holds, and what torch keeps here
    of tensors that are gone."""
    kept: int = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def n_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the memory that tensors of any shape lie in, each piece once."""
    pieces = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(pieces.values())
