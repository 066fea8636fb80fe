"""The fleet as `muster doctor --fleet` prints it."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from api.cli.tables import checks_table, table
from orchestrator.domain.fleet import ClockReading
from orchestrator.services.fleet import FleetHost, FleetState, HostProcess


def fleet_tables(state: FleetState) -> Iterator[Table]:
    """Processes by host, versions by host, and what was looked for."""
    yield _processes(state)
    yield _versions(state)
    yield checks_table(state.checks)


def _processes(state: FleetState) -> Table:
    result = table(
        "Fleet",
        "host",
        "process",
        "device",
        "engines",
        "leases",
        "clock",
        "configuration",
        "weights",
        "heard",
    )
    for host in state.hosts:
        for one in host.processes:
            result.add_row(*_row(host, one))
    return result


def _row(host: FleetHost, one: HostProcess) -> list[str | Text]:
    report = one.report
    held = [f"{d.engine_id} ({d.state})" for d in one.devices if d.engine_id is not None]
    states = [engine.weights for engine in report.engines]
    weights = ", ".join(
        f"{states.count(state)} {state}" for state in dict.fromkeys(states) if state != "none"
    )
    heard = f"{report.seen_s:.0f} s ago"
    return [
        host.name,
        f"{report.role} {report.pid}",
        report.device or "",
        ", ".join(held),
        str(one.n_leased),
        _clock(report.clock),
        f"{report.config_hash[:8]} ({report.source})",
        weights,
        Text(heard, style="red") if report.is_silent else heard,
    ]


def _clock(clock: ClockReading | None) -> str:
    return "" if clock is None else f"{clock.offset_s * 1000:+.0f} ± {clock.error_s * 1000:.0f} ms"


def _versions(state: FleetState) -> Table:
    names = list(dict.fromkeys(name for h in state.hosts for p in h.processes for name in p.report.versions))
    result = table("Versions", "host", "process", *names)
    for host in state.hosts:
        for one in host.processes:
            numbers = [one.report.versions.get(name, "") for name in names]
            result.add_row(host.name, f"{one.report.role} {one.report.pid}", *numbers)
    return result
