"""The command: `python -m benchmarks.cuda [--dry] [--only PART …] [--skip PART …] [--out FILE]`."""

import argparse
import contextlib
import importlib
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks import cuda
from benchmarks.cuda.running import LEFT_OUT, REASON, Kept, LeftOutError, Order, Report, run_parts
from benchmarks.cuda.scale import BUDGETS_S, DRY, FULL, TOTAL_S
from benchmarks.reporting import finish, option_parser, progress

MODULES = {name: f"benchmarks.cuda.{name}_part" for name in BUDGETS_S}
"""Where each part lies: a module with `measure(scale, folder, kept)`."""
DRY_BUDGET_S = 600.0
"""Seconds of each part of a dry run, which may stand on a busy machine."""


def main(argv: Sequence[str] | None = None) -> None:
    given = _options(argv)
    if given.part is not None:
        sys.exit(run_here(given.part, Path(given.folder), dry=given.dry))
    names = [name for name in given.only or BUDGETS_S if name not in given.skip]
    report = Report(given.out, dry=given.dry)
    report.write()
    signal.signal(signal.SIGTERM, _leave)
    folder = Path(given.folder or tempfile.mkdtemp(prefix="muster-cuda-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run_parts(
            [_order(name, folder, dry=given.dry) for name in names],
            report,
            total_s=len(names) * DRY_BUDGET_S if given.dry else given.seconds,
        )
    finally:
        report.write()
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
        finish(report.document)


def run_here(name: str, folder: Path, *, dry: bool) -> int:
    """One part in this process, the exit code; figures go into a file of the folder."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports the hub's library
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    kept = Kept(kept_file(folder, name))
    module = importlib.import_module(MODULES[name])
    try:
        require_gpu(dry=dry)
        module.measure(DRY if dry else FULL, folder, kept)
    except LeftOutError as error:
        kept.keep(REASON, str(error))
        return LEFT_OUT
    return 0


def require_gpu(*, dry: bool) -> None:
    """
    Raises:
        LeftOutError: real sizes, and nothing that computes them in time.
    """
    from benchmarks.cuda.machine import on_cuda  # torch, which the process of the whole run does without

    if not dry and not on_cuda():
        raise LeftOutError("there is no GPU here; --dry goes through the same code without one.")


def kept_file(folder: Path, name: str) -> Path:
    return folder / f"figures-{name}.json"


def _order(name: str, folder: Path, *, dry: bool) -> Order:
    command = [sys.executable, "-m", "benchmarks.cuda", "--part", name, "--folder", str(folder)]
    kept = kept_file(folder, name)
    with contextlib.suppress(FileNotFoundError):
        kept.unlink()  # of an earlier run in this folder
    return Order(
        name, [*command, *(["--dry"] if dry else [])], kept, DRY_BUDGET_S if dry else BUDGETS_S[name]
    )


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = option_parser(cuda.__doc__)
    parts = tuple(BUDGETS_S)
    parser.add_argument("--dry", action="store_true", help="tiny shapes, also without a GPU")
    parser.add_argument("--only", nargs="*", choices=parts, help="parts to run; default all")
    parser.add_argument("--skip", nargs="*", choices=parts, default=(), help="parts to leave out")
    parser.add_argument("--out", type=Path, default=Path("build/cuda/report.json"), help="the report's file")
    parser.add_argument("--folder", help="for the checkpoints, kept there; default: one that is removed")
    parser.add_argument("--seconds", type=float, default=TOTAL_S, help="of the whole run")
    parser.add_argument("--part", choices=parts, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.part is not None and given.folder is None:
        parser.error("--part needs --folder")
    return given


def _leave(number: int, _: FrameType | None) -> NoReturn:
    """Leave as by an exception, so that what was measured is told and children are ended."""
    progress("the run was told to end")
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
