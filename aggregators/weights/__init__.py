"""Aggregation over weights: the models of several experts become one, tensor by tensor.

A merge method is one file with pure functions of tensors, its options, and one row of `MERGE_METHODS` in
`merging.py`. Definitions: docs/methods.md, section 9.
"""

from aggregators.weights.merging import MERGE_METHODS, merge_tensor
from aggregators.weights.rows import MergeRow

__all__ = ["MERGE_METHODS", "MergeRow", "merge_tensor"]
