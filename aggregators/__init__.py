"""Aggregators: one answer of several experts, out of their `outputs`, their `logits` or their `weights`."""
