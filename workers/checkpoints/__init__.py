"""Checkpoints: weights on disk, their identity, and small ones to fetch."""
