"""Merging, for entry points: recipes checked and run; nothing here needs a pool or a model library."""

from workers.checkpoints.merging.runner import CheckedOrder, MergeOrder, check_order, run_order

__all__ = ["CheckedOrder", "MergeOrder", "check_order", "run_order"]
