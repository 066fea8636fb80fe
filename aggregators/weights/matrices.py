"""Tensors that methods on matrices treat as matrices."""

from torch import Tensor

TABLES = ("embed", "lm_head", "wte", "wpe")
"""Parts of names of embeddings and of the head: two-dimensional, but a row for every token."""


def is_matrix(name: str, tensor: Tensor) -> bool:
    """Two-dimensional, and neither an embedding nor the head."""
    return tensor.dim() == 2 and not any(part in name for part in TABLES)
