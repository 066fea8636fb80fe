"""Faults between hosts: `python -m tests.faults.hosts`, as root (`make faults-hosts`).

Network namespaces are the hosts: the API, the database, Redis and the beat on one, a worker on each of two
others, all of one host name, 20 ms apart. The last line of output is one JSON object; exit code 1 when
anything was not as expected. Where namespaces are not allowed it says so, and ends with 0.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.faults.hosts.network import (
    ROUND_TRIP_MS,
    Network,
    NotAllowedError,
    attached,
    open_network,
)
from tests.faults.report import Report
from tests.harness.processes import ROOT

SCENARIOS: Mapping[str, str] = {
    "partition": "one worker and the hub do not reach each other for 30 s",
    "deaf": "for 30 s nothing reaches one worker, while what it sends arrives",
    "mute": "for 30 s what one worker sends is lost, while what is sent to it arrives",
    "slow": "one worker behind 64 kB/s",
    "vanishing": "a host is gone from one moment to the next, and boots again",
    "equal_names": "two hosts of one name",
    "fleet": "hosts started from two addresses; one has a wrong clock, vanishes, comes back and is drained",
    "weights": "weights that differ on one host, are put right, and are replaced while a worker runs",
    "rolling": "a pool file on one host that defines an engine otherwise and lacks an expert",
    "odd_starts": "workers before there is anything, by IPv6, and with what is wrong or missing",
}


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    chosen = [name for name in SCENARIOS if not options.only or name in options.only.split(",")]
    if options.inside:
        return _run_inside(chosen, Path(options.inside), options.opened_by, options.delays_by)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # the network is taken down then, too
    folder = Path(tempfile.mkdtemp(prefix="muster-faults-hosts-"))
    try:
        with open_network(folder) as network:
            code = _run_in_hub(network, folder, chosen)
    except NotAllowedError as refused:
        print(f"skipped: network namespaces are not allowed here ({refused})")
        print(json.dumps({"skipped": str(refused), "faults": 0, "as_expected": 0}))
        code = 0
    if code:
        print(f"logs: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.hosts", description=__doc__)
    parser.add_argument("--only", default="", help=f"some of: {', '.join(SCENARIOS)}")
    parser.add_argument("--inside", default="", help=argparse.SUPPRESS)
    parser.add_argument("--opened-by", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--delays-by", default="switch", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    unknown = {name for name in options.only.split(",") if name} - SCENARIOS.keys()
    if unknown:
        parser.error(f"unknown faults: {', '.join(sorted(unknown))}")
    return options


def _run_in_hub(network: Network, folder: Path, chosen: Sequence[str]) -> int:
    """This program again, on the hub: servers, API and checker are started there."""
    command = [*network.inside_hub(), sys.executable, "-m", "tests.faults.hosts"]
    command += ["--inside", str(folder), "--opened-by", str(os.getpid()), "--delays-by", network.delays_by]
    command += ["--only", ",".join(chosen)]
    child = subprocess.Popen(command, cwd=ROOT)
    try:
        return child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()


def _run_inside(chosen: Sequence[str], folder: Path, opened_by: int, delays_by: str) -> int:
    from tests.faults.hosts import fleets, scenarios
    from tests.faults.world import Lab

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    network = attached(folder, opened_by, delays_by=delays_by)
    lab = Lab(folder / "lab", address=network.hub.address)
    started = time.monotonic()
    reports: dict[str, Report] = {}
    try:
        lab.open()
        for name in chosen:
            where = scenarios if hasattr(scenarios, name) else fleets
            run: Callable[[Lab, Network, Report], None] = getattr(where, name)
            reports[name] = _inject(name, run, lab, network)
    finally:
        lab.close()
    summary = {
        "faults": len(reports),
        "as_expected": sum(report.is_as_expected for report in reports.values()),
        "lost": sum(report.n_lost for report in reports.values()),
        "duplicated": sum(report.n_duplicated for report in reports.values()),
        "round_trip_ms": ROUND_TRIP_MS,
        "delays_by": delays_by,
        "worst_taken_over_s": _worst(reports, "taken_over_s"),
        "worst_back_s": _worst(reports, "back_s"),
        "seconds": round(time.monotonic() - started),
    }
    print(json.dumps(summary), flush=True)
    return 0 if summary["as_expected"] == len(chosen) else 1


def _inject(name: str, run: Callable[..., None], lab: object, network: Network) -> Report:
    report = Report()
    started = time.monotonic()
    try:
        run(lab, network, report)
    except Exception as error:  # the next fault must be injected all the same
        report.expect("the injection runs to its end", False, seen=f"{type(error).__name__}: {error}")
    verdict = "as expected" if report.is_as_expected else "NOT AS EXPECTED"
    print(f"{name:12} {verdict}, {time.monotonic() - started:.0f} s  {SCENARIOS[name]}", flush=True)
    numbers = [f"{key}: {value}" for key, value in report.numbers.items()]
    for line in [*numbers, *report.notes, *report.lines()]:
        print(f"             {line}", flush=True)
    return report


def _worst(reports: Mapping[str, Report], ending: str) -> float | None:
    found = [v for r in reports.values() for key, v in r.numbers.items() if key.endswith(ending)]
    return max(found, default=None)


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
