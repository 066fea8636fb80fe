"""Merging of checkpoints: recipes, preflight, streaming of tensors, and where results appear."""
