"""Orchestration kernel and use cases: annotate, match, recruit, assign, batch, aggregate."""

__version__ = "0.1.0"
"""Muster's version. It stands here only: pyproject.toml reads it, and so do all that tell it."""
