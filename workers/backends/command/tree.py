"""Processes as the kernel tells of them: the memory that they hold, and their environments."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

KIB_PER_GIB = 1 << 20
CARDS = ("/dev/nvidia", "/dev/kfd", "/dev/dri/render")
"""Beginnings of the device files of graphics cards."""


def memory_gib(pids: Iterable[int]) -> float:
    """Memory that processes hold together: pages that they share count once."""
    return sum(_held_kib(pid) for pid in pids) / KIB_PER_GIB


def uses_card(pid: int) -> bool:
    """True of a process that has a graphics card open."""
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(link.readlink()).startswith(CARDS):
                    return True
    return False


def carriers(name: str, value: str) -> Iterator[int]:
    """Processes of this user in whose environment a variable has a value."""
    wanted = f"{name}={value}".encode()
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in file.read_bytes().split(b"\0") and int(file.parent.name) != os.getpid():
                yield int(file.parent.name)


def _held_kib(pid: int) -> int:
    """Proportional share of resident pages where the kernel tells it, else all of them; 0 = it ended."""
    for name, key in (("smaps_rollup", b"Pss:"), ("status", b"VmRSS:")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in Path(f"/proc/{pid}/{name}").read_bytes().splitlines():
                if line.startswith(key):
                    return int(line.split()[1])
    return 0
