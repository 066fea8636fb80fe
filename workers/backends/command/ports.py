"""Ports of this machine for servers that we start, and who listens on one."""

import contextlib
import random
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

LOOPBACK = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "[::]")  # noqa: S104 -- hosts of others are read here, and none is bound
"""Hosts at which the loopback is heard, too."""
LOW, HIGH = 15_000, 32_767
"""Below the range that kernels take for outgoing connections, which come and go."""
TRIES = 200
_LISTENS = b"0A"


def free_port() -> int:
    """A port of the loopback that nobody listens on now.

    Raises:
        OSError: there is none.
    """
    for _ in range(TRIES):
        port = random.randint(LOW, HIGH)
        if is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """True if a server may listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def is_anothers(port: int, *, own: Iterable[int], began_with: int) -> bool:
    """True if a process listens at a port that a server of ours was to have: somebody was faster.

    None of ours listens then, and who does was there before ours began. A helper that the system started for
    us later, such as a container's proxy, is no thief; nor is anybody where the system does not tell.

    Args:
        own: processes of our server.
        began_with: a process that was started just before these.
    """
    sockets = _listening(port)
    if not sockets or any(_holds(pid, sockets) for pid in own):
        return False
    began_at = _started_at(began_with)
    return began_at is not None and any(
        (started_at := _started_at(pid)) is not None and started_at < began_at
        for pid in _all_processes()
        if _holds(pid, sockets)
    )


def heard_at(pids: Iterable[int]) -> list[str]:
    """Addresses at which processes listen, such as `[::1]:8000`; none where the system does not tell."""
    addresses = dict(_listeners())
    return sorted({addresses[one] for pid in pids for one in _sockets_of(pid) if one in addresses})


def _listening(port: int) -> set[str]:
    """Sockets that listen at a port, as links of open files name them."""
    return {one for one, address in _listeners() if address.endswith(f":{port}")}


def _listeners() -> Iterator[tuple[str, str]]:
    """Sockets that listen, as links of open files name them, and their addresses."""
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_bytes().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENS:
                    host, port = fields[1].decode().split(":")
                    yield f"socket:[{fields[9].decode()}]", f"{_host(host, family)}:{int(port, 16)}"


def _host(words: str, family: socket.AddressFamily) -> str:
    """An address of the kernel's tables: words of four bytes, each in the machine's order."""
    numbers = (int(words[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(words), 8))
    host = socket.inet_ntop(family, b"".join(numbers))
    return f"[{host}]" if family == socket.AF_INET6 else host


def _holds(pid: int, sockets: set[str]) -> bool:
    return any(one in sockets for one in _sockets_of(pid))


def _sockets_of(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(link.readlink())


def _started_at(pid: int) -> int | None:
    """Ticks of the kernel's clock at the start of a process; None = it is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    return None


def _all_processes() -> Iterator[int]:
    return (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
