"""Every benchmark runs as a module and by its path, has a help, and ends with one JSON object."""

import ast
import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import store
from benchmarks.reporting import finish, progress
from tests.harness.processes import ROOT

FOLDER = ROOT / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if "\nif __name__ ==" in path.read_text())

BY_PATH = """
import contextlib, io, runpy, sys

for path in sys.argv[1:]:
    sys.path.insert(0, path.rpartition("/")[0])  # as the interpreter does for a script
    sys.argv[:] = [path, "--help"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        runpy.run_path(path, run_name="__main__")
    assert said.getvalue().startswith("usage: "), path
    del sys.path[0]  # which the script has set to the folder that holds the packages
    for name in [name for name in sys.modules if name.partition(".")[0] in ("benchmarks", "tests")]:
        del sys.modules[name]
"""


def test_the_scripts_are_those_known() -> None:
    """The others are their parts."""
    parts = {path.stem for path in FOLDER.glob("*.py")} - set(SCRIPTS)
    assert parts == {
        "__init__",
        "reporting",
        "scripted_pool",
        "stack",
        "store_at_size",
        "stored_jobs",
        "wire_client",
    }


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_of_a_module(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.delitem(sys.modules, f"benchmarks.{name}", raising=False)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    assert ended.value.code == 0
    assert said.getvalue().startswith("usage: ")


def test_help_of_scripts_run_by_their_paths(tmp_path: Path) -> None:
    """In a folder of its own and with no path set: one process for all, which forgets between them."""
    paths = [str(FOLDER / f"{name}.py") for name in SCRIPTS]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", BY_PATH, *paths], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_says_goes_through_the_one_place_that_prints(name: str) -> None:
    calls = [
        node.func.id
        for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert "finish" in calls
    assert "print" not in calls


def test_progress_and_figures_do_not_mix(capsys: pytest.CaptureFixture[str]) -> None:
    progress("half")
    finish({"n": 1})
    assert capsys.readouterr() == ('{"n": 1}\n', "half\n")


def test_the_last_line_of_a_run_is_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    store.main(["--queries", "20"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert isinstance(figures, dict)
    assert figures
