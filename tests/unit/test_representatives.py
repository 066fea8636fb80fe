"""Cases that `make test` runs of a test with many: spread over all of them, and all when asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import FULL

ROOT = Path(__file__).parents[2]
TEST = """
import pytest

@pytest.mark.representatives(3)
@pytest.mark.parametrize("n", range(9))
def test_many(n):
    pass

@pytest.mark.full
def test_long():
    pass

def test_plain():
    pass
"""


def ran(folder: Path, *arguments: str, full: bool = False) -> list[str]:
    """Names of the tests that a run collects, with the suite's own configuration."""
    file = folder / "test_inner.py"
    file.write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    command += ["-p", "tests.conftest", "-p", "no:cacheprovider", "--collect-only", "-q"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), FULL: "1" if full else ""}
    done = subprocess.run(
        [*command, *(arguments or [str(file)])], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    return [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]


def test_cases_are_spread_over_all(tmp_path: Path) -> None:
    assert ran(tmp_path) == ["test_many[0]", "test_many[3]", "test_many[6]", "test_plain"]


def test_all_run_when_all_are_asked_for(tmp_path: Path) -> None:
    assert len(ran(tmp_path, full=True)) == 11


@pytest.mark.parametrize("name", ["test_many[4]", "test_long"])
def test_one_that_is_named_runs(tmp_path: Path, name: str) -> None:
    assert ran(tmp_path, f"{tmp_path / 'test_inner.py'}::{name}") == [name]
