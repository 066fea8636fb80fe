"""Owners of leases: names that tell, on the same machine, whether their process still lives."""

import itertools
import os
import socket
import uuid
from functools import cache
from pathlib import Path
from typing import NamedTuple

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")

_numbers = itertools.count(1)


class Machine(NamedTuple):
    """Place whose process numbers mean the same to all: two machines may share a name, and two containers of
    one machine number their processes alike.

    Attributes:
        name: of the host, for people.
        boot: the kernel's number of this run of the machine; elsewhere, that of its network card.
        namespace: of process numbers.
    """

    name: str
    boot: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.name}|{self.boot}/{self.namespace}"


def this_machine() -> Machine:
    """The machine, or container, of this process."""
    return Machine(socket.gethostname().replace("|", "-").replace("+", "-"), _boot(), _namespace())


def new_owner(machine: Machine | None = None) -> str:
    """`host|boot/process namespace|pid|start|n`: unique among all loops of all processes."""
    place = str(machine or this_machine())
    return "|".join([place, str(os.getpid()), _start_of(os.getpid()) or "?", str(next(_numbers))])


def berth_of(owner: str, name: str) -> str:
    """A further place of the same loop."""
    return f"{owner}+{name}"


def loop_of(owner: str) -> str:
    """The loop that a place belongs to."""
    return owner.partition("+")[0]


def is_dead(owner: str, machine: Machine | None = None) -> bool:
    """True if the owner provably is a process of this machine that has ended. Doubt means no."""
    parts = loop_of(owner).split("|")
    if len(parts) != 5 or not parts[2].isdigit():
        return False
    if "|".join(parts[:2]) != str(machine or this_machine()):
        return False
    pid = int(parts[2])
    return not _exists(pid) or (parts[3] != "?" and _start_of(pid) != parts[3])


@cache
def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except (
        OSError
    ):  # no Linux; without a network card each process has a number of its own, and nobody is sure
        return f"{uuid.getnode():x}"


def _namespace() -> str:
    try:
        return str(_NAMESPACE.readlink())
    except OSError:
        return "-"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start_of(pid: int) -> str | None:
    """Clock ticks between boot and the start of a process, where the system tells; a zombie has none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
