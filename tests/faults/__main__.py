"""Inject faults into a live system and check what must hold: `python -m tests.faults`.

Real PostgreSQL and Redis of its own, real `muster serve`, `worker` and `beat` processes over scripted
engines. The last line of output is one JSON object; exit code 1 when anything was not as expected.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.faults import recovery, soak
from tests.faults.report import Fault, Report
from tests.faults.table import FAULTS, NOT_SHOWN
from tests.faults.world import Lab

SHORT_CYCLES, CYCLES = 10, 200


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    chosen = _chosen(options)
    folder = Path(tempfile.mkdtemp(prefix="muster-faults-"))
    lab = Lab(folder, wanted={fault.id for fault in chosen})
    started = time.monotonic()
    try:
        lab.open()
        reports = {fault.id: _inject(fault, lab) for fault in chosen}
        soaked = _guarded(
            "soak",
            lambda report: soak.run(lab, report, n_cycles=options.cycles, seed=options.seed),
            on=options.cycles > 0,
        )
        recovered = _guarded("recovery", lambda report: recovery.run(lab, report), on=options.recovery)
    finally:
        lab.close()
    all_reports = [*reports.values(), soaked, recovered]
    good = sum(report.is_as_expected for report in reports.values())
    failed = [report for report in all_reports if report.findings and not report.is_as_expected]
    if failed or options.keep:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    if not options.only:
        for fault_id, reason in NOT_SHOWN.items():
            print(f"{fault_id:4} not shown: {reason}")
    print(f"{time.monotonic() - started:.0f} s")
    summary = {
        "faults": len(reports),
        "as_expected": good,
        "kill_cycles": soaked.numbers.get("kill_cycles", 0),
        "lost": sum(report.n_lost for report in all_reports),
        "duplicated": sum(report.n_duplicated for report in all_reports),
        "failed_needlessly": sum(report.n_failed_needlessly for report in all_reports),
        "worst_recovery_s": recovered.numbers.get("worst_recovery_s"),
        "redis_recovery_s": recovered.numbers.get("redis_recovery_s"),
    }
    print(json.dumps(summary))
    return 1 if failed or good < len(reports) else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", help="faults to inject, like F7,F12; nothing else is run")
    parser.add_argument("--short", action="store_true", help="the representative ones, and few kills")
    parser.add_argument("--cycles", type=int, help="random kills of the soak")
    parser.add_argument("--seed", type=int, default=1, help="of the soak")
    parser.add_argument(
        "--no-recovery", dest="recovery", action="store_false", help="leave out the recovery times"
    )
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    parser.add_argument("--list", action="store_true", help="only print the table")
    options = parser.parse_args(argv)
    if options.list:
        for fault in FAULTS:
            print(f"{fault.id:4} {fault.injected}\n     -> {fault.expected}")
        for fault_id, reason in NOT_SHOWN.items():
            print(f"{fault_id:4} not shown: {reason}")
        sys.exit(0)
    if options.cycles is None:
        options.cycles = 0 if options.only else SHORT_CYCLES if options.short else CYCLES
    options.recovery = options.recovery and not (options.only or options.short)
    return options


def _chosen(options: argparse.Namespace) -> list[Fault]:
    if options.only == "none":
        return []
    ids = {name.strip().upper() for name in options.only.split(",") if name.strip()}
    unknown = ids - {fault.id for fault in FAULTS}
    if unknown:
        sys.exit(f"unknown faults: {', '.join(sorted(unknown))}; --list prints the table")
    if ids:
        return [fault for fault in FAULTS if fault.id in ids]
    return [fault for fault in FAULTS if fault.short or not options.short]


def _inject(fault: Fault, lab: Lab) -> Report:
    report = Report()
    started = time.monotonic()
    try:
        fault.run(lab, report)
    except Exception as error:  # the next fault must be injected all the same
        report.expect("the injection runs to its end", False, seen=f"{type(error).__name__}: {error}")
        if not isinstance(error, TimeoutError | AssertionError):
            traceback.print_exc()
    _print(fault.id, fault.injected, report, time.monotonic() - started)
    return report


def _guarded(name: str, run: Callable[[Report], None], *, on: bool) -> Report:
    report = Report()
    if not on:
        return report
    started = time.monotonic()
    try:
        run(report)
    except Exception as error:
        traceback.print_exc()
        report.expect(f"{name} runs to its end", False, seen=f"{type(error).__name__}: {error}")
    _print(name, "", report, time.monotonic() - started)
    return report


def _print(name: str, injected: str, report: Report, took_s: float) -> None:
    verdict = "as expected" if report.is_as_expected else "NOT AS EXPECTED"
    print(f"{name:4} {verdict}, {took_s:.0f} s  {injected}", flush=True)
    for line in [*report.notes, *report.lines()]:
        print(f"       {line}", flush=True)


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
