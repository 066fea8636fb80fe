"""Tensors that methods on matrices treat as matrices.

Ours: docs/methods.md, section 9.
"""

from torch import Tensor

TABLES = ("embed", "lm_head", "wte", "wpe")
"""Parts of names of embeddings and of the head: two-dimensional, but a row for every token."""


def is_matrix(name: str, tensor: Tensor) -> bool:
    """True of the shape [m, n] where the name is neither an embedding's nor the head's.

    Args:
        name: the tensor's, as checkpoints have it.
    """
    return tensor.dim() == 2 and not any(part in name for part in TABLES)
