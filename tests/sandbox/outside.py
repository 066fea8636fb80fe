"""What lies outside the sandbox and must stay as it is."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

NOBODY = 65534
IPC_KEY = 4711
DISK_BYTES = (16 << 20) + os.getpid()
MARK = str(DISK_BYTES).encode()
"""Stands in the command line of this suite's runs: others may run beside it."""
_SETTLE_S = 3.0
_IPC = ("shm", "msg", "sem")


class Outside:
    """A folder and a process that anybody may touch, sockets, and what the kernel keeps for the host."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="muster-outside-"))
        self.folder.chmod(0o777)
        self._secret = secrets.token_hex()
        self._canary = self.folder / "canary"
        self._canary.write_text(self._secret)
        self._canary.chmod(0o666)
        self.abstract = f"muster-{secrets.token_hex(8)}"
        self._streams = [_listening(socket.AF_INET, ("127.0.0.1", 0))]
        self.port: int = self._streams[0].getsockname()[1]
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind(("127.0.0.1", self.port))
        self._datagrams.setblocking(False)
        self._streams += [_listening(socket.AF_UNIX, f"\0{self.abstract}")]
        self._streams += [_listening(socket.AF_UNIX, str(self.folder / "socket"))]
        (self.folder / "socket").chmod(0o777)
        self._victim = _victim()
        self._signals: list[int] = []
        self._host = self._kept_by_the_host()

    @property
    def words(self) -> dict[str, str]:
        """What stands for `{folder}`, `{port}`, … in a program."""
        return {
            "{folder}": str(self.folder),
            "{port}": str(self.port),
            "{abstract}": self.abstract,
            "{victim}": str(self._victim.pid),
        }

    def changes(self) -> list[str]:
        """What is not as it was; looking puts it right."""
        found = [
            *self._changed_files(),
            *(f"connection to {s.getsockname()!r}" for s in self._streams if _accepted(s)),
            *(["datagram"] if self._has_datagram() else []),
            *(["signal to a process of the host"] if not _is_well(self._victim) else []),
            *(["signal to the grader"] if self._signals else []),
            *([] if self._kept_by_the_host() == self._host else ["the host's name, clock or shared memory"]),
        ]
        self._signals.clear()
        self._host = self._kept_by_the_host()
        if not _is_well(self._victim):
            _end(self._victim)
            self._victim = _victim()
        return found

    def _changed_files(self) -> list[str]:
        names = sorted(path.name for path in self.folder.iterdir())
        whole = self._canary.exists() and self._canary.read_text() == self._secret
        if whole and names == ["canary", "socket"]:
            return []
        for path in self.folder.iterdir():
            if path.name not in ("canary", "socket"):
                path.unlink()
        self._canary.write_text(self._secret)
        return ["files of the host"]

    def _has_datagram(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            return bool(self._datagrams.recv(64))
        return False

    def _kept_by_the_host(self) -> tuple[object, ...]:
        ipc = tuple(_has_key(Path(f"/proc/sysvipc/{kind}").read_text()) for kind in _IPC)
        files = tuple(sorted(p.name for p in Path("/dev/shm").iterdir() if p.name == "left"))
        return socket.gethostname(), ipc, files, time.time() > 1_600_000_000

    def close(self) -> None:
        _end(self._victim)
        for sock in (*self._streams, self._datagrams):
            sock.close()
        shutil.rmtree(self.folder)

    def watch_signals(self) -> None:
        """Signals that end a process by default are counted in the grader."""
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGIO):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)


@contextlib.contextmanager
def outside() -> Iterator[Outside]:
    world = Outside()
    world.watch_signals()
    try:
        yield world
    finally:
        world.close()


def _has_key(table: str) -> bool:
    """Whether the programs' key stands in a table of the kernel; other processes come and go."""
    return any(line.split()[0] == str(IPC_KEY) for line in table.splitlines() if line.strip())


def survivors(before: frozenset[int]) -> list[int]:
    """Processes of a sandbox that are still there some time after their run has ended."""
    deadline = time.monotonic() + _SETTLE_S
    while (left := sorted(sandboxed() - before)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def sandboxed() -> frozenset[int]:
    """Processes of this suite's runs, and those in a PID namespace of others that are no run of anybody."""
    ours = _pid_namespace("self")
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            with contextlib.suppress(OSError):
                command = Path(entry.path, "cmdline").read_bytes()
                is_run = b"confined/launch.py" in command
                if MARK in command or (not is_run and _pid_namespace(entry.name) != ours):
                    found.add(int(entry.name))
    return frozenset(found)


def _pid_namespace(process: str) -> str:
    return os.readlink(f"/proc/{process}/ns/pid")  # noqa: PTH115  (a name of the kernel, no path)


def _listening(family: int, address: object) -> socket.socket:
    sock = socket.socket(family)
    sock.bind(address)  # type: ignore[arg-type]
    sock.listen()
    sock.setblocking(False)
    return sock


def _accepted(listener: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        listener.accept()[0].close()
        return True
    return False


def _victim() -> "subprocess.Popen[bytes]":
    """A process of the identity that the sandbox takes on where root starts it."""
    user = NOBODY if os.geteuid() == 0 else None
    sleeper = ["/bin/sleep", "100000"] if Path("/bin/sleep").exists() else [sys.executable, "-c", "input()"]
    return subprocess.Popen(sleeper, user=user, stdin=subprocess.PIPE)


def _is_well(process: "subprocess.Popen[bytes]") -> bool:
    state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    traced = "TracerPid:\t0" in Path(f"/proc/{process.pid}/status").read_text()
    return process.poll() is None and state in "SRD" and traced


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()
