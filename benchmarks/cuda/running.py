"""Parts of the benchmark in processes of their own, and the report that grows with what they have measured.

A part's process writes its figures into a file whenever it has some. What it had written counts, however it
ended: done, out of time (its process group is killed), or dead. Standard library only: whatever breaks CUDA
or an import breaks a child.
"""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.reporting import progress

ROOT = Path(__file__).parents[2]
TOLD_LINES = 6
"""Last lines of a part that died which the report keeps."""
LEFT_OUT = 4
"""Exit code of a part that cannot run here; its reason is among its figures."""
LEAST_S = 5.0
"""Seconds below which no part is begun."""
REASON = "why"


class LeftOutError(Exception):
    """A part cannot run here; its message says why."""


class Kept:
    """Figures of one part, kept in a file from the first on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.figures: dict[str, Any] = {}

    def keep(self, name: str, value: object) -> None:
        """Add or replace a figure."""
        self.figures[name] = value
        progress(f"  {name}: {json.dumps(value)}")
        write_whole(self.path, self.figures)


def write_whole(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a file of JSON in one step."""
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


class Report:
    """Figures of all parts in one file, written anew after each."""

    def __init__(self, path: Path, *, dry: bool) -> None:
        self._path = path
        self._began = time.monotonic()
        self.document: dict[str, Any] = {"benchmark": "cuda", "dry": dry, "seconds": 0.0, "parts": {}}

    def add(self, name: str, outcome: Mapping[str, Any]) -> None:
        self.document["parts"][name] = {**outcome}
        self.write()

    def write(self) -> None:
        self.document["seconds"] = round(time.monotonic() - self._began, 1)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, self.document)


class Order(NamedTuple):
    """A part that is to run.

    Attributes:
        command: of its process; it writes its figures into `kept`.
        budget_s: seconds that it may take.
    """

    name: str
    command: Sequence[str]
    kept: Path
    budget_s: float


def run_parts(orders: Sequence[Order], report: Report, *, total_s: float) -> None:
    """Run the parts one after the other, each within its own time and what is left of the total."""
    deadline = time.monotonic() + total_s
    for order in orders:
        left_s = deadline - time.monotonic()
        if left_s < min(LEAST_S, order.budget_s):
            report.add(
                order.name, _outcome("not_begun", 0.0, order, why="the time of the whole run was over")
            )
            continue
        within_s = min(order.budget_s, left_s)
        progress(f"{order.name}: at most {within_s:.0f} s")
        report.add(order.name, run_part(order._replace(budget_s=within_s)))


def run_part(order: Order) -> dict[str, Any]:
    """One part to its end, or to the end of its time."""
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_paths())}
    last: deque[str] = deque(maxlen=TOLD_LINES)
    child = subprocess.Popen(
        order.command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    listener = threading.Thread(target=_pass_on, args=(child, last), daemon=True)
    listener.start()
    try:
        code = child.wait(order.budget_s)
    except subprocess.TimeoutExpired:
        return _outcome("time_is_over", time.monotonic() - began, order)
    finally:
        end_group(child)
        listener.join(2.0)
    seconds = time.monotonic() - began
    if code == 0:
        return _outcome("done", seconds, order)
    if code == LEFT_OUT:
        return _outcome("left_out", seconds, order)
    ended = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
    return _outcome("died", seconds, order, why=" | ".join([ended, *last]))


def end_group(child: "subprocess.Popen[str]") -> None:
    """End a child and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _paths() -> list[str]:
    """Where modules are found: this checkout first, then as in this process."""
    return [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


def _pass_on(child: "subprocess.Popen[str]", last: deque[str]) -> None:
    """Tell what a part says, and remember the end of it."""
    assert child.stderr is not None, "it is a pipe"
    with child.stderr as lines:
        for line in lines:
            progress(line.rstrip())
            last.append(line.strip()[:300])


def _outcome(status: str, seconds: float, order: Order, *, why: str | None = None) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        figures = json.loads(order.kept.read_text(encoding="utf-8"))
    told = figures.pop(REASON, None)
    outcome = {"status": status, "seconds": round(seconds, 1), "budget_s": round(order.budget_s, 1)}
    if why or told:
        outcome[REASON] = why or told
    return {**outcome, "figures": figures}
