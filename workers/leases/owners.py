"""Owners of leases: names that tell, on the same host, whether their process still lives."""

import itertools
import os
import re
import socket
from pathlib import Path

_numbers = itertools.count(1)


def new_owner() -> str:
    """`host|process namespace|pid|start|n`: unique among all loops of all processes."""
    return "|".join([*_place(), str(os.getpid()), _start_of(os.getpid()) or "?", str(next(_numbers))])


def berth_of(owner: str, name: str) -> str:
    """A further place of the same loop."""
    return f"{owner}+{name}"


def loop_of(owner: str) -> str:
    """The loop that a place belongs to."""
    return owner.partition("+")[0]


def is_dead(owner: str) -> bool:
    """True if the owner provably is a process of this host that has ended. Doubt means no."""
    parts = loop_of(owner).split("|")
    if len(parts) != 5 or parts[:2] != _place() or not parts[2].isdigit():
        return False
    pid = int(parts[2])
    return not _exists(pid) or (parts[3] != "?" and _start_of(pid) != parts[3])


def _place() -> list[str]:
    """Host and process namespace (two containers may share a host name, and number processes alike)."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = "-"
    return [re.sub(r"[|+]", "-", socket.gethostname()), namespace]


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
