"""mergekit as a subprocess, for what we do not have by ourselves: the extra `merge`, in an environment of its
own (LGPL-3.0; it never becomes a part of this process)."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from pydantic import JsonValue

from orchestrator.errors import ConfigError, MergeError, MergeStoppedError
from orchestrator.settings.yaml_lines import load_yaml

PYTHON_VARIABLE = "MUSTER_MERGEKIT_PYTHON"
OWN_PYTHON = Path(".venv-merge/bin/python")
OURS = frozenset({"name", "output", "rank", "seed"})
"""Keys of a recipe that mergekit does not know."""
LOOK_S = 0.2


def find_mergekit(beyond: Sequence[str]) -> str:
    """Interpreter that has mergekit: MUSTER_MERGEKIT_PYTHON, `.venv-merge` in the working directory, or this.

    Args:
        beyond: what it is needed for, in words.

    Raises:
        ConfigError: there is none.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise ConfigError(f"{PYTHON_VARIABLE} names '{named}', which is no file.", param=PYTHON_VARIABLE)
        return named
    if OWN_PYTHON.is_file():
        return str(OWN_PYTHON.absolute())
    if find_spec("mergekit") is not None:
        return sys.executable
    raise ConfigError(
        f"{', '.join(beyond)} needs mergekit, which is not installed.",
        param="merge_method",
        remedy="Run `python -m venv .venv-merge && .venv-merge/bin/pip install mergekit==0.1.5`, or name an "
        f"interpreter that has it in {PYTHON_VARIABLE}.",
    )


def run_mergekit(
    recipe: Path, folder: Path, *, seed: int, beyond: Sequence[str], stopped: Callable[[], bool]
) -> None:
    """Let mergekit write its result into the work folder.

    Raises:
        ConfigError: there is no mergekit. MergeError: it failed; the message ends with its last line.
        MergeStoppedError: it was stopped.
    """
    with tempfile.TemporaryDirectory(prefix="muster-mergekit-") as scratch:
        plain, said = Path(scratch) / "recipe.yaml", Path(scratch) / "stderr"
        document = {key: value for key, value in load_yaml(recipe).data.items() if key not in OURS}
        plain.write_text(json.dumps(document), encoding="utf-8")
        command = [find_mergekit(beyond), "-m", "mergekit.scripts.run_yaml", str(plain), str(folder)]
        command += ["--random-seed", str(seed), "--no-write-model-card", "--no-trust-remote-code"]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        environment.pop("PYTHONPATH", None)
        with (
            said.open("wb") as errors,
            subprocess.Popen(  # noqa: S603 -- an interpreter that the user named
                command,
                cwd=_working_directory(recipe, document),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            ) as child,
        ):
            _wait(child, stopped)
        if child.returncode:
            lines = said.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
            raise MergeError(f"mergekit failed: {last[:500]}", remedy="Mend the recipe for it.")


def _wait(child: "subprocess.Popen[bytes]", stopped: Callable[[], bool]) -> None:
    """Until mergekit has ended; killed if it is stopped, or we are."""
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(LOOK_S)
                return
            if stopped():
                raise MergeStoppedError("the merge was stopped.", remedy="Run it again.")
    finally:
        if child.poll() is None:
            child.kill()


def _working_directory(recipe: Path, document: dict[str, JsonValue]) -> Path:
    """mergekit takes paths from where it runs: beside the recipe, if its models are there."""
    base = document.get("base_model")
    rows = document.get("models")
    first = rows[0] if isinstance(rows, list) and rows else None
    named = base or (first.get("model") if isinstance(first, dict) else None)
    is_beside = isinstance(named, str) and (recipe.parent / named.partition("+")[0]).is_dir()
    return recipe.parent if is_beside else Path.cwd()
