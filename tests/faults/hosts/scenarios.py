"""Faults between hosts: what is injected on the network, what must hold."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.faults.hosts.network import HUB, Host, Network
from tests.faults.machines import FIRST_NAMESPACE
from tests.faults.pools import Json, scripted
from tests.faults.report import Report
from tests.faults.world import MAJORITY, N_QUERIES, QUICK, Lab, World, living
from tests.harness.processes import Process
from tests.harness.waiting import becomes_true, let_pass, wait_for

PARTITION_S = 30.0
BOUND_S = 150.0
TAKEN_OVER_S = 60.0
BACK_S = 90.0
SLOW_BYTES_PER_S = 64_000.0
EXPERTS = (scripted("alpha", delay_s=1.0), scripted("beta", delay_s=1.0))


class Hosts(NamedTuple):
    """A world whose workers live on hosts of their own."""

    world: World
    network: Network
    on: Mapping[str, Process]

    def host_of(self, name: str) -> Host:
        return self.network.hosts[name]

    def n_held(self, name: str) -> int:
        """Calls under lease of the worker of a host: owners carry its boot."""
        boot = f"%{self.host_of(name).boot}%"
        return int(
            self.world.value(
                "SELECT count(*) FROM assignment WHERE state = 'leased' AND lease_owner LIKE %s", boot
            )
        )

    def await_work(self, name: str, *, within_s: float = 60) -> None:
        wait_for(f"{name} holds leases", lambda: self.n_held(name), within_s=within_s, every_s=0.02)

    def start_worker(self, name: str) -> None:
        self.on[name].start()


@contextmanager
def hosts(
    lab: Lab, network: Network, report: Report, *, members: tuple[Json, ...] = EXPERTS
) -> Iterator[Hosts]:
    """API, database and Redis on the hub, a worker on each of two others; all of one name."""
    network.weather()
    with living(
        lab, report, members, start=False, workers=0, compositions=MAJORITY, scheduler=QUICK
    ) as world:
        on = {name: _worker(world, network, name) for name in network.hosts if name != HUB}
        world.workers.extend(on.values())
        try:
            world.start()
            world.prober.start()
            yield Hosts(world, network, on)
        finally:
            network.weather()


def _worker(world: World, network: Network, name: str) -> Process:
    address = network.hub.address
    env = {
        "MUSTER_DATABASE_URL": world.env["MUSTER_DATABASE_URL"].replace("127.0.0.1", address),
        "MUSTER_BROKER_URL": world.env["MUSTER_BROKER_URL"].replace("127.0.0.1", address),
        "PYTHONPATH": f"{world.folder}:{world.env['PYTHONPATH']}",
    }
    (world.folder / "sitecustomize.py").write_text(FIRST_NAMESPACE)
    worker = world.device_worker(f"worker-{name}", env=env)
    worker.command = [*network.on(network.hosts[name]), *worker.command]
    return worker


def partition(lab: Lab, network: Network, report: Report) -> None:
    """Nothing passes between one worker and the hub for 30 s."""
    _cut(lab, network, report, [("one", "*"), ("*", "one")])


def deaf(lab: Lab, network: Network, report: Report) -> None:
    """What the hub sends does not reach one worker; what the worker sends arrives."""
    _cut(lab, network, report, [("*", "one")])


def mute(lab: Lab, network: Network, report: Report) -> None:
    """What one worker sends is lost; what is sent to it arrives."""
    _cut(lab, network, report, [("one", "*")])


def slow(lab: Lab, network: Network, report: Report) -> None:
    """One worker behind a line of 64 kB/s and 20 ms: slow is not dead."""
    with hosts(lab, network, report) as there:
        network.weather(slow=[("one", SLOW_BYTES_PER_S)])
        job = there.world.submit(2 * N_QUERIES)
        there.await_work("one")
        report.expect("I4 the job ends", there.world.ends(job, within_s=BOUND_S))
        _expect_answers(there, report, job)
        _expect_no_burial(there, report)


def equal_names(lab: Lab, network: Network, report: Report) -> None:
    """Two hosts of one name, each with processes that the other does not see: nobody buries the other."""
    with hosts(lab, network, report) as there:
        job = there.world.submit(2 * N_QUERIES)
        for name in there.on:
            there.await_work(name)
        names = {host for (host,) in there.world.sql("SELECT DISTINCT split_part(owner, '|', 1) FROM device")}
        report.expect("they have one name", len(names) == 1, seen=names)
        report.expect("I4 the job ends", there.world.ends(job, within_s=BOUND_S))
        _expect_answers(there, report, job)
        _expect_no_burial(there, report)


def vanishing(lab: Lab, network: Network, report: Report) -> None:
    """A host is gone from one moment to the next, without a farewell; later it boots again."""
    with hosts(lab, network, report) as there:
        job = there.world.submit(2 * N_QUERIES)
        there.await_work("one")
        network.weather(cut=[("one", "*"), ("*", "one")])
        there.on["one"].kill()
        gone_at = time.monotonic()
        taken = becomes_true(lambda: not there.n_held("one"), within_s=TAKEN_OVER_S)
        report.expect(f"its leases are taken over within {TAKEN_OVER_S:g} s", taken)
        report.numbers["vanished_taken_over_s"] = round(time.monotonic() - gone_at, 1)
        report.expect("I4 the job ends", there.world.ends(job, within_s=BOUND_S))
        _expect_answers(there, report, job)
        network.weather()
        there.start_worker("one")
        again = there.world.submit(2 * N_QUERIES, start=2 * N_QUERIES)
        there.await_work("one")
        report.expect("I4 a job after it came back ends", there.world.ends(again, within_s=BOUND_S))
        _expect_answers(there, report, again)


def _cut(lab: Lab, network: Network, report: Report, cut: list[tuple[str, str]]) -> None:
    with hosts(lab, network, report) as there:
        world = there.world
        job = world.submit(2 * N_QUERIES)
        there.await_work("one")
        network.weather(cut=cut)
        cut_at = time.monotonic()
        held = _held_by(there, "one")
        taken = becomes_true(lambda: not _still_held(there, "one", held), within_s=TAKEN_OVER_S, every_s=0.1)
        report.expect(f"what it held is taken over within {TAKEN_OVER_S:g} s", taken)
        report.numbers["cut_taken_over_s"] = round(time.monotonic() - cut_at, 1)
        let_pass(cut_at + PARTITION_S - time.monotonic())
        network.weather()
        report.expect("I4 the job ends", world.ends(job, within_s=BOUND_S, keep_alive=True))
        _expect_answers(there, report, job)
        again = world.submit(4 * N_QUERIES, start=2 * N_QUERIES)
        healed_at = time.monotonic()

        def works() -> bool:
            world.keep_alive()
            return there.n_held("one") > 0

        back = becomes_true(works, within_s=BACK_S, every_s=0.1)
        report.expect("it works again when the network does", back)
        report.numbers["back_s"] = round(time.monotonic() - healed_at, 1)
        report.expect("I4 a later job ends", world.ends(again, within_s=BOUND_S, keep_alive=True))
        _expect_answers(there, report, again)


def _held_by(there: Hosts, name: str) -> list[int]:
    boot = f"%{there.host_of(name).boot}%"
    rows = there.world.sql("SELECT pk FROM assignment WHERE state = 'leased' AND lease_owner LIKE %s", boot)
    return [pk for (pk,) in rows]


def _still_held(there: Hosts, name: str, pks: list[int]) -> bool:
    boot = f"%{there.host_of(name).boot}%"
    return bool(
        there.world.value(
            "SELECT count(*) FROM assignment WHERE state = 'leased' AND lease_owner LIKE %s AND pk = ANY(%s)",
            boot,
            pks,
        )
    )


def _expect_answers(there: Hosts, report: Report, job: str) -> None:
    counts = there.world.counters(job)
    report.expect("every query answered, none failed", counts.completed == counts.total, seen=counts)


def _expect_no_burial(there: Hosts, report: Report) -> None:
    logs = [process.log for process in there.world.processes]
    buried = [f"{log.name}: {line}" for log in logs for line in _lines(log) if "is dead" in line]
    report.expect("no live worker is declared dead", not buried, seen=buried[:3])
    attempts = there.world.value("SELECT max(attempt) FROM assignment")
    report.expect("every call was claimed once", attempts == 1, seen=attempts)


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines() if log.exists() else []
