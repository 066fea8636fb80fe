"""Merge every recipe with Muster and with mergekit, and compare the checkpoints tensor by tensor.

    python -m tests.merging [--python PATH] [--only NAME ...]

The Python that has mergekit is the one that `muster merge` would use: $MUSTER_MERGEKIT_PYTHON,
`.venv-merge`, or this one. Where none has it, one line says so and the exit code is 0. The last line of
stdout is one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from safetensors.torch import load_file

from orchestrator.errors import ConfigError
from tests.merging.models import write_models
from tests.merging.recipes import RECIPES
from workers.checkpoints.merging.child import work
from workers.checkpoints.merging.mergekit import find_mergekit
from workers.checkpoints.merging.runner import MergeOrder, check_order, run_order

SEED = 7
CLOSE = 1e-6
"""Largest difference allowed in float32."""

STEPS = {torch.bfloat16: 2**-7, torch.float16: 2**-10, torch.float32: 0.0}
"""Largest step between neighbours of a format, by value: what lies half way may be rounded to either."""

ROUNDED_OTHERWISE = 1e-3
"""Share of entries that may be."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--python", help="an interpreter that has mergekit 0.1.5")
    parser.add_argument("--only", nargs="*", choices=list(RECIPES), default=list(RECIPES))
    arguments = parser.parse_args()
    if arguments.python:
        os.environ["MUSTER_MERGEKIT_PYTHON"] = arguments.python
    try:
        python = find_mergekit(["this comparison"])
    except ConfigError as error:
        print(f"skipped: {error}", file=sys.stderr)
        print(json.dumps({"skipped": True}))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        return compare(Path(scratch), python, arguments.only)


def compare(folder: Path, python: str, names: list[str]) -> int:
    torch.set_num_threads(1)
    write_models(folder)
    for place in ("recipes", "ours", "theirs"):
        (folder / place).mkdir()
    for name in names:
        (folder / "recipes" / f"{name}.json").write_text(json.dumps(RECIPES[name]))
        (folder / f"{name}.yaml").write_text(json.dumps(RECIPES[name]))
    took = run_reference(folder, python)
    rows = {name: differences(folder, name) for name in names}
    for name, row in rows.items():
        print(
            f"{name:26} {'agrees' if row['ok'] else 'DIFFERS'}  {row['worst']:.1e}  {row['why']}",
            file=sys.stderr,
        )
    n_wrong = sum(not row["ok"] for row in rows.values())
    print(json.dumps({"merges": len(rows), "differ": n_wrong, "rows": rows, "mergekit_s": took}))
    return int(n_wrong > 0)


def run_reference(folder: Path, python: str) -> dict[str, Any]:
    script = Path(__file__).with_name("reference.py")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment.setdefault("OMP_NUM_THREADS", "1")  # the tensors are small
    command = [python, str(script.resolve()), str(folder), str(SEED)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    took: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return took


def merge_here(folder: Path, name: str) -> None:
    """As `muster merge` does it, but in this process."""
    said: list[dict[str, JsonValue]] = []

    def child(place: Path, *_: object) -> dict[str, JsonValue]:
        work(place, said.append)
        return said[-1]

    checked = check_order(MergeOrder(folder / f"{name}.yaml", folder / "ours" / name, seed=SEED))
    report = run_order(checked, child=child)
    assert report.merge.sha256 is not None, f"{name}: {report.verdict}"


def differences(folder: Path, name: str) -> dict[str, Any]:
    """Names, formats and values of all tensors of both results."""
    merge_here(folder, name)
    ours, theirs = (load_all(folder / who / name) for who in ("ours", "theirs"))
    worst, why = 0.0, ""
    for key in sorted(ours.keys() | theirs.keys()):
        if key not in ours or key not in theirs:
            why = f"{key} is only {'ours' if key in ours else 'theirs'}"
            worst = float("inf")
        elif ours[key].dtype != theirs[key].dtype:
            why, worst = f"{key}: {ours[key].dtype}, {theirs[key].dtype}", float("inf")
        else:
            one, other = ours[key].double(), theirs[key].double()
            apart = (one - other).abs()
            allowed = CLOSE + STEPS[ours[key].dtype] * torch.maximum(one.abs(), other.abs())
            n_apart = int((apart > CLOSE).sum())
            worst = max(worst, float(apart.max()))
            if bool((apart > allowed).any()) or n_apart > 1 + ROUNDED_OTHERWISE * apart.numel():
                why = f"{key}: {n_apart} of {apart.numel()} differ"
    return {"ok": not why, "worst": worst, "why": why}


def load_all(folder: Path) -> dict[str, torch.Tensor]:
    return {k: v for path in sorted(folder.glob("*.safetensors")) for k, v in load_file(path).items()}


if __name__ == "__main__":
    sys.exit(main())
