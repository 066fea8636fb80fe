"""Small models to try, for the command line."""

from pathlib import Path

from workers.checkpoints.fetch import MODELS, fetch

__all__ = ["MODELS", "fetch_model"]


def fetch_model(name: str, target: Path) -> Path:
    """Fetch a model: see `workers.checkpoints.fetch.fetch`."""
    return fetch(name, target)
