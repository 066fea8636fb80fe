"""Installed packages, as far as the import system can tell: metadata and modules in a folder on its path."""

from collections.abc import Mapping
from pathlib import Path

import pytest

EntryPoints = Mapping[str, Mapping[str, str]]
"""Group to names to `module:attribute`."""


def install(
    folder: Path, package: str, entry_points: EntryPoints, modules: Mapping[str, str] | None = None
) -> Path:
    """Version 1.0 of a package, with modules of these names and texts."""
    metadata = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    groups = (f"[{group}]\n{_lines(names)}" for group, names in entry_points.items())
    (metadata / "entry_points.txt").write_text("\n".join(groups))
    for name, text in (modules or {}).items():
        (folder / f"{name}.py").write_text(text)
    return folder


def _lines(names: Mapping[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in names.items())


def put_on_path(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """For this process and its children, until the test ends."""
    for folder in folders:
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
