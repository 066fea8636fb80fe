"""Origins of weights: a folder of this machine, or a model of the hub at a revision; never pickles.

A pickle runs the code that it holds. A folder that was mistyped must not become the name of somebody's model
on the hub, and a name there may stand for other weights tomorrow.
"""

import re
from pathlib import Path
from typing import NamedTuple

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
"""Endings of files that hold weights as pickles."""

_HUB_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}")


class Objection(NamedTuple):
    """Fault of an origin, and its remedy."""

    why: str
    remedy: str


def objection(model: str, revision: str | None) -> Objection | None:
    """Fault of an origin of weights; None = it has none, or may not be looked at, which its load will say.

    Args:
        model: a folder, or `owner/name` of the hub.
    """
    try:
        is_folder, is_here = Path(model).is_dir(), Path(model).exists()
    except OSError:
        return None
    if model and is_folder:
        return None
    if model and is_here:
        return Objection(f"'{model}' is a file", "Name the folder with config.json and safetensors weights.")
    if _is_path(model):
        return Objection(f"there is no folder '{model}'", "Mend the path, or fetch the model.")
    if revision is None:
        return Objection(
            f"'{model}' is no folder here, and a model of the hub needs a revision",
            "Mend the path; or, if the hub is meant, set `revision` to a commit (or, knowing that it moves, "
            "to a branch such as main).",
        )
    return None


def pickled_weights(folder: Path) -> Path | None:
    """A pickle that a loader would read from the folder or below it, for want of safetensors beside it."""
    for found in sorted(folder.rglob("*")):
        if found.suffix in PICKLED and found.is_file() and not any(found.parent.glob("*.safetensors")):
            return found
    return None


def _is_path(name: str) -> bool:
    """True if a name cannot be one of the hub, or begins as a folder that is here."""
    first, slash, _ = name.partition("/")
    return _HUB_ID.fullmatch(name) is None or ".." in name or (slash != "" and Path(first).is_dir())
