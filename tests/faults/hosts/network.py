"""Hosts of one name: network namespaces around a switch, and what makes a process of one believe in it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.faults.hosts.switch import Weather
from tests.faults.machines import NAME, on_machine
from tests.harness.processes import ROOT
from tests.harness.waiting import wait_for

PREFIX = "muster-hosts"
HUB = "hub"
WORKERS = ("one", "two")
ROUND_TRIP_MS = 20.0


class Host(NamedTuple):
    """A host of the network.

    Attributes:
        namespace: of its network. address: its own. boot: its kernel's number, which it alone has.
    """

    name: str
    namespace: str
    address: str
    boot: str


class NotAllowedError(Exception):
    """This machine does not let us have networks of our own."""


class Network:
    """Three hosts and a switch between them; whoever knows its folder tells it what to do.

    Attributes:
        delays_by: `netem`, the kernel's own, or `switch`.
    """

    def __init__(self, folder: Path, pid: int, *, delays_by: str) -> None:
        self._folder = folder
        self.delays_by = delays_by
        self.hosts = {
            name: Host(
                name,
                f"{PREFIX}-{pid}-{name}",
                f"10.77.0.{number}",
                str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{pid}.{name}")),
            )
            for number, name in enumerate((HUB, *WORKERS), 1)
        }

    @property
    def hub(self) -> Host:
        return self.hosts[HUB]

    def weather(self, *, cut: Sequence[tuple[str, str]] = (), slow: Sequence[tuple[str, float]] = ()) -> None:
        """From now on; the delay stays as it is."""
        delay_ms = ROUND_TRIP_MS / 2 if self.delays_by == "switch" else 0.0
        said = Weather(delay_ms=delay_ms, cut=tuple(cut), slow=tuple(slow))
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self._folder / "switch.sock"))
            control.sendall(json.dumps(said._asdict()).encode() + b"\n")
            assert control.recv(16) == b"ok\n"

    def on(self, host: Host, *, name: str = NAME, without: Sequence[Path] = ()) -> list[str]:
        """What goes before a command that is to run on a host: its network, its name and its boot; a table of
        processes of its own, so that the others' are not seen. `without`: places of others' trees."""
        machine = on_machine(self._folder, host.boot, name=name, without=without)
        return ["ip", "netns", "exec", host.namespace, *machine]

    def listeners(self, host: Host) -> list[str]:
        """Addresses that somebody listens on there, and that others could reach."""
        command = ["ip", "netns", "exec", host.namespace, "ss", "-Htln"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        addresses = [line.split()[3] for line in lines]
        return [a for a in addresses if not a.startswith(("127.", "[::1]", "[::ffff:127."))]

    def inside_hub(self) -> list[str]:
        return ["ip", "netns", "exec", self.hub.namespace]


@contextmanager
def open_network(folder: Path) -> Iterator[Network]:
    """The namespaces with their links and their switch; gone at the end, whatever happens.

    Raises:
        NotAllowedError: they cannot be made here.
    """
    _require_rights()
    _clear(only_dead=True)
    pid = os.getpid()
    network = Network(folder, pid, delays_by="switch")
    switch: subprocess.Popen[bytes] | None = None
    try:
        between = f"{PREFIX}-{pid}-switch"
        _ip("netns", "add", between)
        for host in network.hosts.values():
            _connect(host, between)
        if all(_delay(host) for host in network.hosts.values()):
            network.delays_by = "netem"
        command = ["ip", "netns", "exec", between, sys.executable, "-m", "tests.faults.hosts.switch"]
        command += [str(folder / "switch.sock"), *network.hosts]
        log = (folder / "switch.log").open("ab")
        switch = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        wait_for("the switch listens", (folder / "switch.sock").exists, within_s=30)
        network.weather()
        yield network
    finally:
        if switch is not None:
            switch.kill()
            switch.wait()
        _clear(of=pid)


def attached(folder: Path, pid: int, *, delays_by: str) -> Network:
    """The network that another process opened."""
    return Network(folder, pid, delays_by=delays_by)


def _require_rights() -> None:
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        raise NotAllowedError("the programs `ip` and `unshare` are not installed")
    probe = f"{PREFIX}-{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode:
        raise NotAllowedError(made.stderr.strip().splitlines()[-1] if made.stderr else "no reason given")
    _ip("netns", "delete", probe)


def _connect(host: Host, between: str) -> None:
    """A cable from a host's `eth0` to the port of its name at the switch."""
    _ip("netns", "add", host.namespace)
    _in(host.namespace, "ip", "link", "set", "lo", "up")
    _in(
        between,
        "ip",
        "link",
        "add",
        host.name,
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        host.namespace,
    )
    _in(between, "ip", "link", "set", host.name, "up")
    _in(host.namespace, "ip", "address", "add", f"{host.address}/24", "dev", "eth0")
    program = "from tests.faults.hosts.switch import *; without_offloads('eth0')"
    _in(host.namespace, sys.executable, "-c", program)
    _in(host.namespace, "ip", "link", "set", "eth0", "up")


def _delay(host: Host) -> bool:
    """Whether the kernel delays what a host sends."""
    words = ["tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", f"{ROUND_TRIP_MS / 2:g}ms"]
    done = subprocess.run(["ip", "netns", "exec", host.namespace, *words], capture_output=True)
    return done.returncode == 0


def _clear(*, of: int | None = None, only_dead: bool = False) -> None:
    """Delete namespaces of a run; of runs that were killed before they could."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        name = line.split()[0]
        if not name.startswith(f"{PREFIX}-"):
            continue
        pid = int(name.removeprefix(f"{PREFIX}-").partition("-")[0])
        if pid == of or (only_dead and not Path(f"/proc/{pid}").exists()):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", name)


def _in(namespace: str, *words: str) -> None:
    _checked("ip", "netns", "exec", namespace, *words)


def _ip(*words: str) -> None:
    _checked("ip", *words)


def _checked(*words: str) -> None:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr)
