"""The benchmark on a GPU: a part that dies or is too slow costs itself only; a dry run has every figure."""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.cuda.__main__ import MODULES
from benchmarks.cuda.machine import NOT_ON_CPU
from benchmarks.cuda.running import LEFT_OUT, Order, Report, run_part, run_parts
from benchmarks.cuda.scale import BUDGETS_S, TOTAL_S
from tests.harness.processes import ROOT
from tests.harness.waiting import becomes_true

KEEP = "import os, sys, time; from pathlib import Path; Path({kept!r}).write_text('{{\"rate\": 3}}'); "
LONG_S = 60.0
SIZES = {"figures": dict, "seconds": float, "budget_s": float}


def order(folder: Path, program: str, *, name: str = "part", budget_s: float = LONG_S) -> Order:
    """A part that keeps one figure and then does something."""
    kept = folder / f"{name}.json"
    return Order(name, [sys.executable, "-c", KEEP.format(kept=str(kept)) + program], kept, budget_s)


def test_a_part_that_ends_well_is_done_with_its_figures(tmp_path: Path) -> None:
    outcome = run_part(order(tmp_path, "pass"))
    assert (outcome["status"], outcome["figures"]) == ("done", {"rate": 3})


def test_a_part_that_dies_keeps_its_figures_and_says_its_last_words(tmp_path: Path) -> None:
    outcome = run_part(order(tmp_path, "raise RuntimeError('CUDA error: an illegal memory access')"))
    assert (outcome["status"], outcome["figures"]) == ("died", {"rate": 3})
    assert outcome["why"].startswith("exit code 1 | ")
    assert outcome["why"].endswith("RuntimeError: CUDA error: an illegal memory access")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_part_that_is_killed_names_the_signal(tmp_path: Path, number: signal.Signals) -> None:
    outcome = run_part(order(tmp_path, f"os.kill(os.getpid(), {number.value})"))
    assert (outcome["status"], outcome["figures"]) == ("died", {"rate": 3})
    assert outcome["why"].startswith(f"signal {number.name}")


def test_a_part_that_takes_too_long_is_ended_with_its_children_and_keeps_its_figures(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = (
        "import subprocess; sleep = [sys.executable, '-c', 'import time; time.sleep(600)']; "
        f"child = subprocess.Popen(sleep); Path({str(pids)!r}).write_text(str(child.pid)); time.sleep(600)"
    )
    outcome = run_part(order(tmp_path, program, budget_s=6.0))
    assert (outcome["status"], outcome["figures"]) == ("time_is_over", {"rate": 3})
    pid = int(pids.read_text())
    assert becomes_true(lambda: not is_running(pid), within_s=30)


def is_running(pid: int) -> bool:
    """False of a process that is gone, or ended and not yet waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def test_a_part_that_cannot_run_here_is_left_out_with_its_reason(tmp_path: Path) -> None:
    kept = tmp_path / "part.json"
    said = json.dumps({"why": "vLLM is not installed."})
    imports = "import sys; from pathlib import Path; "
    program = imports + f"Path({str(kept)!r}).write_text({said!r}); sys.exit({LEFT_OUT})"
    outcome = run_part(Order("part", [sys.executable, "-c", program], kept, LONG_S))
    assert (outcome["status"], outcome["why"]) == ("left_out", "vLLM is not installed.")
    assert outcome["figures"] == {}


def test_half_written_figures_are_none(tmp_path: Path) -> None:
    kept = tmp_path / "part.json"
    kept.write_text('{"rate": ')
    outcome = run_part(Order("part", [sys.executable, "-c", "pass"], kept, LONG_S))
    assert (outcome["status"], outcome["figures"]) == ("done", {})


def test_parts_after_one_that_died_still_run(tmp_path: Path) -> None:
    out = tmp_path / "out" / "report.json"
    parts = [order(tmp_path, "os._exit(7)", name="first"), order(tmp_path, "pass", name="second")]
    run_parts(parts, Report(out, dry=True), total_s=LONG_S)
    report = json.loads(out.read_text())
    assert [part["status"] for part in report["parts"].values()] == ["died", "done"]


def test_parts_for_which_no_time_is_left_are_not_begun(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    run_parts([order(tmp_path, "pass", name="late")], Report(out, dry=False), total_s=1.0)
    outcome = json.loads(out.read_text())["parts"]["late"]
    assert (outcome["status"], outcome["figures"]) == ("not_begun", {})
    assert not (tmp_path / "late.json").exists()


def test_a_run_that_is_told_to_end_still_tells_what_it_has(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks.cuda", "--dry", "--only", "decoding", "--out", str(out)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stderr is not None
        assert run.stderr.readline().startswith("decoding: at most ")
        run.terminate()
        said, _ = run.communicate(timeout=LONG_S)
    assert json.loads(said.splitlines()[-1])["benchmark"] == "cuda"
    assert json.loads(out.read_text())["dry"] is True
    assert run.returncode == 128 + signal.SIGTERM


def test_all_parts_fit_into_eight_minutes_without_vllm() -> None:
    """The last one has what is left, a minute and a half at least."""
    *first, _ = (seconds for name, seconds in BUDGETS_S.items() if name != "vllm")
    assert TOTAL_S <= 480
    assert sum(first) <= TOTAL_S - 90


def test_every_part_has_its_module() -> None:
    assert all(find_spec(module) is not None for module in MODULES.values())


# ── dry runs ─────────────────────────────────────────────────────────────────────────────────────────


def environment() -> dict[str, str]:
    """No vLLM, wherever it may be: a part of minutes."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def dry_run(folder: Path, *words: str) -> dict[str, Any]:
    out = folder / "report.json"
    command = [sys.executable, "-m", "benchmarks.cuda", "--dry", "--out", str(out), *words]
    run = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    said: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    assert said == json.loads(out.read_text())
    for name, part in said["parts"].items():
        assert part["status"] == "done", (name, part)
        assert all(isinstance(part[key], kind) for key, kind in SIZES.items())
    return said


def values_of(figures: Any) -> list[Any]:
    """All leaves."""
    if isinstance(figures, dict):
        return [leaf for value in figures.values() for leaf in values_of(value)]
    return (
        [leaf for value in figures for leaf in values_of(value)] if isinstance(figures, list) else [figures]
    )


def test_a_dry_run_counts_one_column_per_step(tmp_path: Path) -> None:
    """One pass reads the prompts; each of the other five tokens is a pass of one column: there is a cache."""
    parts = dry_run(tmp_path, "--only", "machine", "decoding")["parts"]
    batch = parts["decoding"]["figures"]["batch_3"]
    assert (batch["prompt_passes"], batch["one_column_passes"]) == (1, 5)
    assert parts["machine"]["figures"]["versions"]["torch"] == torch.__version__
    if not torch.cuda.is_available():
        assert parts["machine"]["figures"]["pinned_copy_gb_s"] == NOT_ON_CPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_real_sizes_without_a_gpu_are_left_out_and_said(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks.cuda", "--out", str(out), "--only", "machine"]
    subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, check=True)
    outcome = json.loads(out.read_text())["parts"]["machine"]
    assert outcome["status"] == "left_out"
    assert "there is no GPU here" in outcome["why"]


@pytest.mark.full
@pytest.mark.timeout(3000)
def test_a_dry_run_goes_through_every_part(tmp_path: Path) -> None:
    parts = dry_run(tmp_path, "--skip", "vllm")["parts"]
    assert list(parts) == [name for name in BUDGETS_S if name != "vllm"]
    assert parts["fusion"]["figures"]["like_reference"]["different"] == 0
    assert parts["load"]["figures"]["swap_small"]["processes"] == 1
    assert all(found["same"] for found in parts["merges"]["figures"]["like_cpu"].values())
    service = parts["residency"]["figures"]["service"]
    assert service["loads"] == service["engines"] == 6
    assert parts["residency"]["figures"]["alternating"]["loads"] > service["loads"]
    leaves = [leaf for part in parts.values() for leaf in values_of(part["figures"])]
    assert None not in leaves
    assert (NOT_ON_CPU in leaves) is not torch.cuda.is_available()
