"""A fleet in network namespaces, as docs/hosts.md has it: each host has a name and a tree of its own.

Workers are started from two addresses only; the pool file and the data of the hub are out of their sight.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults import checker
from tests.faults.hosts.network import Network
from tests.faults.hosts.scenarios import BOUND_S, TAKEN_OVER_S
from tests.faults.pools import LOG, Json, scripted
from tests.faults.report import Report
from tests.faults.world import MAJORITY, N_QUERIES, QUICK, Lab, World, living
from tests.harness.processes import ROOT, Process, descendants
from tests.harness.servers import DATABASE_PASSWORD
from tests.harness.waiting import becomes_true, wait_for

SOON_S = 60.0
CLOCK_AHEAD_S = 3600
WRONG_PASSWORD = "pw-planted-7c11de"
NEWER = "9999"
SHIFTED_CLOCK = """
import os, time
_real, _shift = time.time, float(os.environ["CLOCK_SHIFT_S"])
time.time = lambda: _real() + _shift
"""
"""A `sitecustomize` by which a host's clock is off."""


def expert(name: str, *, delay_s: float = 0.1, **options: object) -> Json:
    """A scripted expert whose weights are a folder, which each host has elsewhere."""
    made = dict(scripted(name, delay_s=delay_s, **options))
    return {**made, "litellm_params": {"model": f"models/{name}"}}


SMALL: Json = {**QUICK, "shard_s": 0.5}
"""Little is held at once: what a host held that vanishes is suspect, and runs alone."""

PAIR = (expert("alpha"), expert("beta"))


class Fleet(NamedTuple):
    """A world whose workers have hosts with trees of their own."""

    world: World
    network: Network

    def tree(self, host: str) -> Path:
        return self.world.folder / "hosts" / host

    def worker(
        self, host: str, *words: str, env: Mapping[str, str] | None = None, ipv6: bool = False
    ) -> Process:
        """`muster worker --device cpu`, not yet started, in the tree of its host: told both addresses."""
        tree, world = self.tree(host), self.world
        (tree / "srv").mkdir(parents=True, exist_ok=True)
        address = self.network.hub.address
        shown = f"[::ffff:{address}]" if ipv6 else address
        given = {
            "MUSTER_CONFIG": "",
            "MUSTER_DATABASE_URL": world.env["MUSTER_DATABASE_URL"].replace("127.0.0.1", shown),
            "MUSTER_BROKER_URL": world.env["MUSTER_BROKER_URL"].replace("127.0.0.1", shown),
            "PYTHONPATH": f"{tree}:{ROOT}",
            **(env or {}),
        }
        worker = world.device_worker(f"worker-{host}", env=given)
        worker.cwd = tree
        hidden = [world.folder / "pool.yaml", *([data] if (data := world.folder / "data").is_dir() else [])]
        prefix = self.network.on(self.network.hosts[host], name=host, without=hidden)
        worker.command = [*prefix, *worker.command, "--models-dir", str(tree / "srv"), *words]
        world.workers.append(worker)
        return worker

    def give_weights(self, host: str, *names: str, content: bytes = b"weights") -> None:
        """Weights in the folder of a host, written in place of what was there."""
        for name in names:
            folder = self.tree(host) / "srv" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text("{}")
            new = folder / "model.tmp"
            new.write_bytes(content + name.encode())
            new.rename(folder / "model.safetensors")

    def generated(self, host: str) -> set[str]:
        """Engines that wrote anything on a host."""
        events = checker.events(self.tree(host) / LOG)
        return {str(event["engine"]) for event in events if event["event"] == "generation"}

    def system(self) -> dict[str, Any]:
        return dict(self.world.get("/v1/system").raise_for_status().json())

    def wrong(self) -> dict[str, str]:
        """What is wrong with the fleet, by check."""
        return {check["check"]: check["detail"] for check in self.system()["checks"] if not check["ok"]}

    def hosts(self) -> set[str]:
        return {host["host"] for host in self.system()["hosts"]}

    def doctor(self) -> subprocess.CompletedProcess[str]:
        """`muster doctor --fleet --json` on the hub."""
        command = [sys.executable, "-m", "api.cli.main", "--json", "doctor", "--fleet"]
        env = {**self.world.env, "PATH": "/usr/bin:/bin", "TMPDIR": str(self.world.folder / "tmp")}
        return subprocess.run(command, cwd=self.world.folder, env=env, capture_output=True, text=True)

    def await_wrong(self, *, check: str, words: str = "", within_s: float = SOON_S) -> bool:
        """Until a check fails with these words."""
        return becomes_true(lambda: words in self.wrong().get(check, "\0"), within_s=within_s, every_s=0.3)

    def await_well(self, *, but: Sequence[str] = (), within_s: float = SOON_S) -> bool:
        """Until nothing but these checks fails."""
        return becomes_true(lambda: not self.wrong().keys() - set(but), within_s=within_s, every_s=0.3)

    def n_held(self, host: str) -> int:
        """Calls under lease of a host, by the boot in the names of owners."""
        return int(
            self.world.value(
                "SELECT count(*) FROM assignment WHERE state = 'leased' AND lease_owner LIKE %s",
                f"{host}|%",
            )
        )


@contextmanager
def hosts_of_a_fleet(
    lab: Lab,
    network: Network,
    report: Report,
    *,
    members: Sequence[Json] = PAIR,
    started: bool = True,
    **more: Any,
) -> Iterator[Fleet]:
    """API and beat on the hub, its workers' hosts still without any."""
    network.weather()
    with living(
        lab, report, members, start=False, workers=0, compositions=MAJORITY, scheduler=SMALL, **more
    ) as world:
        there = Fleet(world, network)
        try:
            if started:
                world.start()
                world.prober.start()
            yield there
        finally:
            network.weather()


def _expect_answers(there: Fleet, report: Report, job: str, what: str, *, within_s: float = BOUND_S) -> None:
    report.expect(f"I4 {what} ends", there.world.ends(job, within_s=within_s))
    counts = there.world.counters(job)
    report.expect(f"{what}: every query answered", counts.completed == counts.total, seen=counts)


def fleet_of_two(there: Fleet, *, clock_of_two_s: float = 0.0) -> tuple[Process, Process]:
    """Workers on both hosts, as soon as they are ready."""
    for host in ("one", "two"):
        there.give_weights(host, "alpha", "beta")
    (there.tree("two") / "sitecustomize.py").write_text(SHIFTED_CLOCK)
    one, two = there.worker("one"), there.worker("two", env={"CLOCK_SHIFT_S": str(clock_of_two_s)})
    there.world.start(one, two)
    return one, two


def fleet(lab: Lab, network: Network, report: Report) -> None:
    """Hosts from two addresses: both work, one's clock is off, it vanishes, comes back, and is drained."""
    with hosts_of_a_fleet(lab, network, report) as there:
        world = there.world
        one, two = fleet_of_two(there, clock_of_two_s=CLOCK_AHEAD_S)
        job = world.submit(2 * N_QUERIES)
        for host in ("one", "two"):
            wait_for(f"{host} works", lambda host=host: there.n_held(host), within_s=SOON_S)
        _expect_answers(there, report, job, "a batch over both")
        report.expect("both have their own names", {"one", "two"} <= there.hosts(), seen=there.hosts())
        report.expect("only the clock is wrong", there.await_well(but=["clocks"]), seen=there.wrong())
        said = there.wrong().get("clocks", "")
        off = re.search(r"the clock of two is ([\d.]+) ± [\d.]+ s ahead", said)
        is_right = off is not None and abs(float(off[1]) - CLOCK_AHEAD_S) < 5
        report.expect("the clock that is an hour ahead is told", is_right, seen=said)
        done = there.doctor()
        report.expect("doctor --fleet ends with 1", done.returncode == 1, seen=(done.returncode, done.stderr))
        same = {h["host"] for h in json.loads(done.stdout)["hosts"]} == there.hosts()
        report.expect("doctor --fleet sees the same hosts", same, seen=done.stdout[:200])
        open_to_others = {host: network.listeners(network.hosts[host]) for host in ("one", "two")}
        report.expect("workers listen to nobody", not any(open_to_others.values()), seen=open_to_others)
        _vanish(there, report, two)
        _drain(there, report, two)
        report.expect("the other one lives", one.is_alive)


def drain(worker: Process) -> None:
    """SIGTERM for the worker itself, not for what gives it a machine of its own."""
    os.kill(descendants(worker.pid)[0], signal.SIGTERM)


def _vanish(there: Fleet, report: Report, two: Process) -> None:
    world, network = there.world, there.network
    job = world.submit(2 * N_QUERIES, start=4 * N_QUERIES)
    wait_for("two works", lambda: there.n_held("two"), within_s=SOON_S)
    network.weather(cut=[("two", "*"), ("*", "two")])
    two.kill()
    taken = becomes_true(lambda: not there.n_held("two"), within_s=TAKEN_OVER_S)
    report.expect("what a vanished host held is taken over", taken)
    what = "a batch in which a host vanishes"  # its calls are suspects, and run alone at last
    _expect_answers(there, report, job, what, within_s=2 * BOUND_S)
    report.expect(
        "it is told as silent", there.await_wrong(check="hosts", words="two is silent"), seen=there.wrong()
    )
    network.weather()
    two.start()
    back = there.await_well(but=["clocks"])
    report.expect("when it is back nobody is silent", back, seen=there.wrong())


def _drain(there: Fleet, report: Report, two: Process) -> None:
    world = there.world
    job = world.submit(2 * N_QUERIES, start=6 * N_QUERIES)
    wait_for("two works again", lambda: there.n_held("two"), within_s=SOON_S)
    drain(two)
    ended = becomes_true(lambda: not two.is_alive, within_s=SOON_S)
    report.expect("a drained worker ends by itself", ended)
    report.expect("and gave back what it held", there.n_held("two") == 0)
    _expect_answers(there, report, job, "a batch in which a host is drained")
    attempts = world.value(
        "SELECT max(a.attempt) FROM assignment a JOIN job j ON j.pk = a.job_pk WHERE j.id = %s", job
    )
    report.expect("no attempt was counted", attempts == 1, seen=attempts)
    report.expect("nobody is told as silent", there.await_well(but=["clocks"]), seen=there.wrong())
    report.expect("it is gone from the fleet", "two" not in there.hosts(), seen=there.hosts())


def weights(lab: Lab, network: Network, report: Report) -> None:
    """Weights are recorded by the first host; another with others leaves that engine to it."""
    with hosts_of_a_fleet(lab, network, report) as there:
        there.give_weights("one", "alpha", "beta")
        there.give_weights("two", "beta")
        there.give_weights("two", "alpha", content=b"WEIGHTS")
        one, two = there.worker("one"), there.worker("two")
        there.world.start(one)
        first = becomes_true(lambda: set(_states(there, "one").values()) == {"first"}, within_s=SOON_S)
        report.expect("the first host records them", first, seen=_states(there, "one"))
        there.world.start(two)
        told = there.await_wrong(check="withheld", words="two does not serve alpha: weights differ")
        report.expect("the other one's are told to differ", told, seen=there.wrong())
        said = there.wrong().get("withheld", "")
        report.expect("with the file's name", "file model.safetensors" in said, seen=said)
        job = there.world.submit(2 * N_QUERIES)
        _expect_answers(there, report, job, "a batch of both engines")
        report.expect("alpha is served by one only", "alpha" in there.generated("one"))
        report.expect("and never by two", "alpha" not in there.generated("two"), seen=there.generated("two"))
        report.expect("which served the other", "beta" in there.generated("two"), seen=there.generated("two"))
        there.give_weights("two", "alpha")
        report.expect("put right, all is well", there.await_well(), seen=there.wrong())
        there.give_weights("one", "alpha", content=b"replaced")
        told = there.await_wrong(check="withheld", words="one does not serve alpha")
        report.expect("what is replaced under a worker is withheld there", told, seen=there.wrong())
        again = there.world.submit(N_QUERIES, start=2 * N_QUERIES)
        _expect_answers(there, report, again, "a batch after that")
        report.expect("it was served by the other", "alpha" in there.generated("two"))


def _states(there: Fleet, host: str) -> dict[str, str]:
    """States of weights by engine, on a host."""
    found = [h for h in there.system()["hosts"] if h["host"] == host]
    return {e["engine"]: e["weights"] for h in found for p in h["processes"] for e in p["engines"]}


def rolling(lab: Lab, network: Network, report: Report) -> None:
    """A worker with the pool file of yesterday: one engine defined otherwise, one expert not known."""
    members = (*PAIR, expert("gamma"))
    with hosts_of_a_fleet(lab, network, report, members=members) as there:
        for host in ("one", "two"):
            there.give_weights(host, "alpha", "beta", "gamma")
        old = there.worker("one")
        pool = there.tree("one") / "srv" / "muster.yaml"
        folders = {name: str(there.tree("one") / "srv" / name) for name in ("alpha", "beta")}
        yesterday = [
            {**expert("alpha", delay_s=0.7), "litellm_params": {"model": folders["alpha"]}},
            {**PAIR[1], "litellm_params": {"model": folders["beta"]}},
        ]
        pool.touch(mode=0o600)
        config = {"model_list": yesterday, "muster": there.world.muster_section}
        pool.write_text(json.dumps(config))
        old.env["MUSTER_CONFIG"] = str(pool)
        there.world.start(old, there.worker("two"))
        told = there.await_wrong(check="withheld", words="one does not serve alpha: it is defined otherwise")
        report.expect("an engine of another definition is withheld", told, seen=there.wrong())
        wrong = there.wrong()
        report.expect(
            "both definitions are told", "alpha differs" in wrong.get("definitions", ""), seen=wrong
        )
        report.expect("and both configurations", "they differ" in wrong.get("configurations", ""), seen=wrong)
        job = there.world.submit(2 * N_QUERIES)
        _expect_answers(there, report, job, "a batch of all three")
        by = {host: there.generated(host) for host in ("one", "two")}
        report.expect("the old one served what is alike", by["one"] <= {"beta"}, seen=by)
        report.expect("the new one the rest", {"alpha", "gamma"} <= by["two"], seen=by)


def odd_starts(lab: Lab, network: Network, report: Report) -> None:
    """A worker before there is anything; addresses of IPv6; and one line for each thing that is wrong."""
    with hosts_of_a_fleet(lab, network, report, started=False, template=False) as there:
        world = there.world
        there.give_weights("one", "alpha", "beta")
        early = there.worker("one", ipv6=True).start()
        waits = becomes_true(lambda: "no pool is published yet" in early.output(), within_s=SOON_S)
        report.expect("without an API it waits, and says for what", waits, seen=early.tail())
        world.start(world.api, *world.beats)
        world.prober.start()
        job = world.submit()
        _expect_answers(there, report, job, "a batch of a worker that was there before the API")
        report.expect("its addresses were of IPv6", "::ffff:" in early.env["MUSTER_DATABASE_URL"])
        _expect_lines(there, report)
        drain(early)
        becomes_true(lambda: not early.is_alive, within_s=SOON_S)
        report.expect("it ends", not early.is_alive)
        world.start(there.worker("two"))


def _expect_lines(there: Fleet, report: Report) -> None:
    """Starts that fail: one line, a remedy, no stack trace, no secret, an exit code that says so."""
    url = there.world.env["MUSTER_DATABASE_URL"].replace("127.0.0.1", there.network.hub.address)
    _lock_out(there, "locked")
    user, port = url.split("@")[0].rsplit("/", 1)[1], url.split(":")[-1].split("/")[0]
    odd: dict[str, tuple[dict[str, str], str]] = {
        "no broker": ({"MUSTER_BROKER_URL": ""}, "MUSTER_BROKER_URL is not set"),
        "wrong password": (
            {"MUSTER_DATABASE_URL": url.replace(user, f"locked:{WRONG_PASSWORD}")},
            "MUSTER_DATABASE_URL (or the file",
        ),
        "no such database": ({"MUSTER_DATABASE_URL": f"{url}x"}, "does not exist"),
        "a database that is away": ({"MUSTER_DATABASE_URL": url.replace(port, "9")}, "cannot be used now"),
    }
    for what, (env, words) in odd.items():
        _expect_line(there, report, what, there.worker("two", env=env), words)
    absent = there.worker("two", "--models-dir", str(there.tree("two") / "nowhere"))
    _expect_line(there, report, "no folder of weights", absent, "no folder")
    revision = there.world.value("SELECT version_num FROM alembic_version")
    there.world.sql_do(f"UPDATE alembic_version SET version_num = '{NEWER}'")
    try:
        _expect_line(there, report, "a newer schema", there.worker("two"), "Upgrade Muster")
    finally:
        there.world.sql_do(f"UPDATE alembic_version SET version_num = '{revision}'")


def _expect_line(there: Fleet, report: Report, what: str, worker: Process, words: str) -> None:
    worker.start()
    ended = becomes_true(lambda: not worker.is_alive, within_s=SOON_S)
    worker.kill()
    there.world.workers.remove(worker)
    lines = [line for line in worker.output().splitlines() if line.strip() and " INFO " not in line]
    report.expect(f"{what}: it ends", ended)
    report.expect(f"{what}: the exit code says so", worker.returncode in (1, 2), seen=worker.returncode)
    is_one = len(lines) == 1 and words in lines[0] and lines[0].startswith("Error: ")
    report.expect(f"{what}: in one line", is_one, seen=lines[-5:])
    hidden = not any(secret in worker.output() for secret in (DATABASE_PASSWORD, WRONG_PASSWORD))
    report.expect(f"{what}: without a secret", hidden)


def _lock_out(there: Fleet, role: str) -> None:
    """Have the server ask a role for a password."""
    world = there.world
    world.sql_do(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
    access = Path(world.value("SHOW hba_file"))
    access.write_text(f"host all {role} samenet scram-sha-256\n{access.read_text()}")
    world.value("SELECT pg_reload_conf()")
