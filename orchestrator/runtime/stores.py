"""Stores of experts on disk, as far as their description tells."""

from pathlib import Path

from orchestrator.domain.merges import STORE_FILE
from orchestrator.runtime.files import read_json

TWIN = "twin"


def twin_experts(folder: Path) -> tuple[str, ...]:
    """Names of the experts of a store by `twin`; none where the folder is no such store.

    Raises:
        ValueError: its description cannot be read, or names that lead elsewhere.
    """
    path = folder / STORE_FILE
    if not path.is_file():
        return ()
    document = read_json(path)
    if not isinstance(document, dict) or document.get("kind") != TWIN:
        return ()
    names = document.get("experts")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{STORE_FILE} names no experts")
    found = tuple(str(name) for name in names)
    if any(Path(name).name != name or name in ("", ".", "..") for name in found):
        raise ValueError(f"{STORE_FILE} names experts outside of the store")
    return found
