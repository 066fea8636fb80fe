"""The example package, installed for these tests without pip: its metadata in a folder on the import path."""

import tomllib
from pathlib import Path

import pytest

from tests.fakes.packages import install, put_on_path

EXAMPLE = Path(__file__).parent / "muster_example"


@pytest.fixture(autouse=True)
def _example_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    site = install(tmp_path / "site", project["name"], project["entry-points"])
    put_on_path(monkeypatch, site, EXAMPLE / "src")
