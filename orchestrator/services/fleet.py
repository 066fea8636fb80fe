"""The fleet as it is: hosts with their processes and devices, and what is wrong with them in sentences."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from orchestrator.domain.devices import LIVE_S, DeviceReport
from orchestrator.domain.diagnoses import Diagnosis
from orchestrator.domain.engines import engine_states
from orchestrator.domain.fleet import (
    CLOCK_OFF_S,
    REMEMBERED_S,
    FleetLook,
    ProcessReport,
    PublishedPool,
    process_of,
    replaces,
)
from orchestrator.errors import SchemaChangedError
from orchestrator.ports.fleet import FleetReader
from orchestrator.ports.jobs import DeviceReader

SHOWN_HASH = 8
"""Digits of a configuration's hash in sentences."""


class HostProcess(NamedTuple):
    """A process, what its devices hold, and how many calls it has under lease."""

    report: ProcessReport
    devices: tuple[DeviceReport, ...]
    n_leased: int


class FleetHost(NamedTuple):
    """A host: two of one name are two. `name`: with digits of its boot where another is called alike."""

    name: str
    processes: tuple[HostProcess, ...]

    @property
    def is_silent(self) -> bool:
        """True if none of its processes was heard of lately."""
        return all(one.report.is_silent for one in self.processes)


class FleetState(NamedTuple):
    """Hosts by name, and everything that was looked for: what is not `ok` is wrong."""

    hosts: tuple[FleetHost, ...]
    checks: tuple[Diagnosis, ...]

    @property
    def is_well(self) -> bool:
        """True if nothing that was looked for is wrong."""
        return all(check.ok for check in self.checks)


class FleetDesk:
    """Looks at the fleet's books.

    Args:
        engine_ids: engines of the pool at the moment.
        loop_of: a report's owner -> the loop that it belongs to.
    """

    def __init__(
        self,
        fleet: FleetReader,
        devices: DeviceReader,
        *,
        engine_ids: Iterable[str],
        loop_of: Callable[[str], str],
    ) -> None:
        self._fleet = fleet
        self._devices = devices
        self._engine_ids = engine_ids
        self._loop_of = loop_of

    def state(self) -> FleetState:
        """The fleet at the moment, with what is wrong.

        Raises:
            StoreError: the database cannot be read.
        """
        look = FleetLook(
            processes=tuple(self._fleet.processes(REMEMBERED_S)),
            devices=tuple(self._devices.devices(LIVE_S)),
            faults=tuple(self._devices.faults(LIVE_S)),
            leases=self._fleet.leases(),
            published=self._published(),
        )
        return FleetState(
            hosts_of(look), tuple(checks_of(look, engine_ids=tuple(self._engine_ids), loop_of=self._loop_of))
        )

    def _published(self) -> PublishedPool | None:
        """The published pool; None also if another version wrote it, which the versions of processes tell."""
        try:
            return self._fleet.published()
        except ValueError:
            return None


def hosts_of(look: FleetLook) -> tuple[FleetHost, ...]:
    """Hosts by name; silent ones that another of the same name has replaced are left out."""
    machines: dict[str, list[ProcessReport]] = {}
    for report in _counted(look.processes):
        machines.setdefault(report.machine, []).append(report)
    shared = _twice(reports[0].host for reports in machines.values())
    hosts = []
    for machine, reports in machines.items():
        name = reports[0].host
        shown = f"{name} ({_mark(machine, machines)})" if name in shared else name
        hosts.append(FleetHost(shown, tuple(_with_devices(report, look) for report in reports)))
    return tuple(sorted(hosts, key=lambda host: host.name))


def _mark(machine: str, machines: Iterable[str]) -> str:
    """What tells a machine from others of its name: digits of its boot; where containers share one, that of
    their processes' numbers, too."""
    boot, _, namespace = machine.rpartition("|")[2].partition("/")
    alike = [other for other in machines if f"|{boot}/" in other]
    return boot[:SHOWN_HASH] if len(alike) == 1 else f"{boot[:SHOWN_HASH]}, {namespace}"


def checks_of(
    look: FleetLook, *, engine_ids: Sequence[str], loop_of: Callable[[str], str]
) -> Iterator[Diagnosis]:
    """All that is looked for, each with its sentence."""
    hosts = hosts_of(look)
    live = [one.report for host in hosts for one in host.processes if not one.report.is_silent]
    names = {one.report.process: host.name for host in hosts for one in host.processes}
    yield _hosts(hosts)
    yield _roles(live)
    yield _versions(live, names)
    yield _configurations(live, names, look)
    yield _definitions(live, names)
    yield _schema(look, names)
    yield _clocks(live, names)
    yield _withheld(live, names)
    yield _engines(look, engine_ids, loop_of)


def _counted(processes: Iterable[ProcessReport]) -> list[ProcessReport]:
    """Processes without those that went silent and were replaced."""
    known = list(processes)
    return [one for one in known if not (one.is_silent and any(replaces(other, one) for other in known))]


def _with_devices(report: ProcessReport, look: FleetLook) -> HostProcess:
    own = tuple(device for device in look.devices if process_of(device.owner) == report.process)
    return HostProcess(report, own, look.leases.get(report.process, 0))


def _hosts(hosts: Sequence[FleetHost]) -> Diagnosis:
    if not hosts:
        return Diagnosis("hosts", False, "nobody was heard of", "Start `muster serve` and a worker.")
    said = []
    for host in hosts:
        silent = [one.report for one in host.processes if one.report.is_silent]
        if host.is_silent:
            said.append(f"{host.name} is silent since {_span(min(r.seen_s for r in silent))}")
        else:
            said += [f"{_process(r)} of {host.name} is silent since {_span(r.seen_s)}" for r in silent]
    return Diagnosis(
        "hosts",
        not said,
        "; ".join(said) or f"all {len(hosts)} are heard of",
        "Look whether it runs and reaches the database; what it held is done by others." if said else None,
    )


def _roles(live: Sequence[ProcessReport]) -> Diagnosis:
    roles = {report.role for report in live}
    remedies = {"worker": "Start `muster worker --device`.", "beat": "Start `muster beat`."}
    missing = [role for role in remedies if role not in roles]
    if roles == {"api"} and all(report.device is not None for report in live):
        missing = []  # one process does all
    steps = "" if "steps" in roles else ", steps are taken by workers with a device"
    return Diagnosis(
        "processes",
        not missing,
        " and ".join(f"no {role} is heard of" for role in missing)
        or f"{', '.join(sorted(roles))} are there{steps}",
        " ".join(remedies[role] for role in missing) or None,
    )


def _versions(live: Sequence[ProcessReport], names: dict[str, str]) -> Diagnosis:
    found: dict[str, dict[str, set[str]]] = {}
    for report in live:
        for package, number in report.versions.items():
            found.setdefault(package, {}).setdefault(number, set()).add(names[report.process])
    said = [
        f"{package} differs: {_by_value(numbers)}"
        for package, numbers in sorted(found.items())
        if len(numbers) > 1
    ]
    return Diagnosis(
        "versions",
        not said,
        "; ".join(said) or "all have the same",
        "Install the same everywhere: the same weights may write other texts in other versions."
        if said
        else None,
    )


def _configurations(live: Sequence[ProcessReport], names: dict[str, str], look: FleetLook) -> Diagnosis:
    found: dict[str, set[str]] = {}
    for report in live:
        found.setdefault(report.config_hash[:SHOWN_HASH] or "none", set()).add(names[report.process])
    published = look.published
    latest = "" if published is None else published.config_hash[:SHOWN_HASH]
    outdated = bool(latest) and bool(found) and set(found) != {latest}
    if len(found) <= 1 and not outdated:
        return Diagnosis("configurations", True, f"all run with {next(iter(found), latest) or 'none'}")
    told = f"; {latest} was published last, by {published.host}" if published is not None else ""
    return Diagnosis(
        "configurations",
        False,
        f"they differ: {_by_value(found)}{told}",
        "Give all processes the same pool file, or workers none, and start those anew that differ.",
    )


def _definitions(live: Sequence[ProcessReport], names: dict[str, str]) -> Diagnosis:
    found: dict[str, dict[str, set[str]]] = {}
    for report in live:
        for engine in report.engines:
            found.setdefault(engine.engine_id, {}).setdefault(engine.definition[:SHOWN_HASH], set()).add(
                names[report.process]
            )
    said = [f"{engine} differs: {_by_value(ways)}" for engine, ways in sorted(found.items()) if len(ways) > 1]
    return Diagnosis(
        "definitions",
        not said,
        "; ".join(said) or "each engine is defined alike by all who have it",
        "Give the changed engine another name, or all processes the same pool file." if said else None,
    )


def _schema(look: FleetLook, names: dict[str, str]) -> Diagnosis:
    changed = [report for report in look.devices if report.code == SchemaChangedError.code]
    said = [
        f"{report.device} of {names.get(process_of(report.owner), report.host)} takes no work: {report.why}"
        for report in changed
    ]
    heal = next((report.heal for report in changed if report.heal), None)
    return Diagnosis("schema", not said, "; ".join(said) or "all write the database as it is", heal)


def _clocks(live: Sequence[ProcessReport], names: dict[str, str]) -> Diagnosis:
    worst: dict[str, ProcessReport] = {}
    for report in live:
        known = worst.get(names[report.process])
        if report.clock is not None and (
            known is None or known.clock is None or report.clock.error_s < known.clock.error_s
        ):
            worst[names[report.process]] = report
    said = [
        f"the clock of {name} is {clock.in_words} the database's"
        for name, report in sorted(worst.items())
        if (clock := report.clock) is not None and clock.at_least_s > CLOCK_OFF_S
    ]
    return Diagnosis(
        "clocks",
        not said,
        "; ".join(said) or f"within {CLOCK_OFF_S:g} s of the database's",
        "Run a time service (chrony, systemd-timesyncd) on every host." if said else None,
    )


def _withheld(live: Sequence[ProcessReport], names: dict[str, str]) -> Diagnosis:
    wrong = [
        (names[report.process], engine)
        for report in live
        for engine in report.engines
        if engine.why is not None
    ]
    checking = [f"{engine.engine_id} on {host}" for host, engine in wrong if engine.weights == "checking"]
    said = dict.fromkeys(
        f"{host} does not serve {engine.engine_id}: {engine.why}"
        for host, engine in wrong
        if engine.weights != "checking"
    )
    heal = " ".join(dict.fromkeys(e.heal for _, e in wrong if e.heal and e.weights != "checking")) or None
    reading = f"weights are being read: {', '.join(checking)}"
    well = reading if checking else "all serve what their pools have"
    return Diagnosis("withheld", not said, "; ".join(said) or well, heal)


def _engines(look: FleetLook, engine_ids: Sequence[str], loop_of: Callable[[str], str]) -> Diagnosis:
    states = engine_states(engine_ids, devices=look.devices, faults=look.faults, loop_of=loop_of)
    unwell = [state for state in states.values() if not state.is_well]
    if not look.devices:
        return Diagnosis("engines", False, "nobody serves any", "Start `muster worker --device`.")
    said = [f"nobody serves {s.engine_id} ({s.state}): {s.why}" for s in unwell]
    heal = " ".join(dict.fromkeys(state.heal for state in unwell if state.heal)) or None
    return Diagnosis("engines", not said, "; ".join(said) or f"all {len(states)} can be served", heal)


def _by_value(found: dict[str, set[str]]) -> str:
    return "; ".join(f"{value} on {', '.join(sorted(hosts))}" for value, hosts in sorted(found.items()))


def _process(report: ProcessReport) -> str:
    device = f" on {report.device}" if report.device else ""
    return f"the {report.role}{device} (process {report.pid})"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _twice(names: Iterable[str]) -> set[str]:
    return {name for name, n in Counter(names).items() if n > 1}
