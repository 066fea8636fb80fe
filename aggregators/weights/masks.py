"""Random masks that depend on (seed, tensor name, position of the model) alone: not on order or sharding.

Ours (methods 9.5); the generator, Philox, is of Salmon et al. 2011, 10.1145/2063384.2063405.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor

STEPS = 1 << 32


def bernoulli_mask(tensor: Tensor, density: float, *, seed: int, name: str, position: int) -> Tensor:
    """Mask of the tensor's shape; each entry is True with probability `density`, to 2^-32.

    Drawn by Philox, a counter-based generator whose raw stream NumPy promises to keep; made on the CPU, so
    that devices agree.

    Args:
        tensor: of any shape; only its shape and device count.
        density: in [0, 1]; beyond, it counts as 0 or 1.
        seed: any integer.
        position: of the model in the recipe, from 0.
    """
    key = hashlib.sha256(f"{seed}\0{name}\0{position}".encode()).digest()[:16]
    stream = np.random.Philox(key=int.from_bytes(key, "little"))
    n = tensor.numel()
    draws = stream.random_raw((n + 1) // 2).astype("<u8", copy=False).view("<u4")[:n]
    edge = min(max(round(density * STEPS), 0), STEPS - 1)
    return torch.from_numpy(draws < np.uint32(edge)).view(tensor.shape).to(tensor.device)


def stream_of(seed: int, name: str) -> torch.Generator:
    """A generator of the CPU for one tensor, whatever was drawn for others; equal arguments, equal draws."""
    key = hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8]
    return torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)
