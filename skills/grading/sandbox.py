"""Runs model-written code with its unit tests where it can hurt nobody and forge nothing.

The kernel isolates, not the language: docs/sandbox.md lists the layers and what each one stops. The tests
run in a process that the code never was in, and ask the code for values: `confined.tester`. Where a layer is
missing, nothing is run unless the caller says otherwise.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from orchestrator.errors import SkillError

LAYERS: Mapping[str, str] = {
    "user": "user namespace: no identity outside, no capabilities",
    "mount": "mount namespace: no files but the interpreter's and an empty folder of limited size",
    "pid": "PID namespace: no other processes, and none that outlives the run",
    "net": "network namespace: no network, no abstract sockets",
    "ipc": "IPC namespace: no shared memory, no message queues",
    "uts": "UTS namespace: no host name to change",
    "limits": "limits on processor time, memory, files and threads",
    "privileges": "no capabilities and no new privileges",
    "landlock": "Landlock: rules on files, TCP and signals",
    "seccomp": "seccomp: a list of allowed system calls; no new processes, no sockets",
}
"""What must be there before code is run, with what it is for."""

_LAUNCHER = Path(__file__).with_name("confined") / "launch.py"
_ROOT = Path(__file__).parents[2]
_MAX_REPORT_BYTES = 16_384
_MAX_WORKSPACE_FILES = 4_096
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "HOME": "/box", "TMPDIR": "/box"}
REMEDY = (
    "Run where unprivileged user namespaces, seccomp and Landlock are allowed (docs/sandbox.md), or set "
    "muster.grading.isolation: available."
)
_MODULES_WITH_LIBRARIES = "zlib _bz2 _lzma _hashlib _ssl _sqlite3 _ctypes _uuid pyexpat _decimal"
_LIST_LIBRARIES = """
import importlib, sys
def mapped():
    with open("/proc/self/maps") as maps:
        return {line.split(maxsplit=5)[5].strip() for line in maps if ".so" in line}
before = mapped()
for name in sys.argv[1].split():
    try:
        importlib.import_module(name)
    except ImportError:
        pass
print("\\n".join(mapped() - before))
"""


class SandboxLimits(NamedTuple):
    """`wall_s` covers the interpreter's start, too. The code has one process: `memory_bytes` is its address
    space, `processes` counts threads. `disk_bytes` bounds all its files together, `file_bytes` each."""

    cpu_s: int = 10
    wall_s: float = 20.0
    memory_bytes: int = 1 << 30
    file_bytes: int = 1 << 20
    processes: int = 64
    disk_bytes: int = 16 << 20

    def resources(self) -> dict[str, int]:
        """By the names of the module `resource`."""
        return {
            "CPU": self.cpu_s, "AS": self.memory_bytes, "FSIZE": self.file_bytes, "NPROC": self.processes,
            "NOFILE": 64, "CORE": 0, "STACK": 8 << 20, "MEMLOCK": 0, "MSGQUEUE": 0, "SIGPENDING": 64,
        }  # fmt: skip


class SandboxResult(NamedTuple):
    """`reason` says why the tests did not pass."""

    passed: bool
    reason: str | None = None


class Layer(NamedTuple):
    """`missing` says why the layer is not there; None when it is."""

    name: str
    purpose: str
    missing: str | None


class Sandbox:
    """Thread-safe; every run has processes, namespaces and files of its own, which end with it.

    Args:
        lenient: run code although layers are missing. What they stop is then open.
        without: layers to leave out, as if the kernel had none.
    """

    def __init__(
        self,
        limits: SandboxLimits | None = None,
        *,
        lenient: bool = False,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self._limits = limits or SandboxLimits()
        self._lenient = lenient
        self._without = without

    def run(self, code: str, tests: str) -> SandboxResult:
        """Execute `code`, then `tests`, which find its names as if they stood below it.

        Raises:
            SkillError: a layer is missing, or the processes cannot be started.
        """
        report = self._execute(code, tests, lenient=self._lenient)
        if report.missing and not self._lenient:
            listed = ", ".join(f"'{name}' ({reason})" for name, reason in report.missing.items())
            raise SkillError(f"code is not run: the sandbox lacks {listed}.", remedy=REMEDY)
        return _result(report)

    def layers(self) -> tuple[Layer, ...]:
        """Every layer, and why it is missing here."""
        try:
            missing = self._execute("", "", lenient=True).missing
        except SkillError as error:
            missing = dict.fromkeys(LAYERS, str(error))
        return tuple(Layer(name, purpose, missing.get(name)) for name, purpose in LAYERS.items())

    def _execute(self, code: str, tests: str, *, lenient: bool) -> "_Report":
        task = json.dumps({"code": code, "tests": tests}).encode()
        limits = self._limits
        config = {
            "grader": os.getpid(),
            "off": sorted(self._without),
            "lenient": lenient,
            "limits": limits.resources(),
            "disk_bytes": limits.disk_bytes,
            "files": _MAX_WORKSPACE_FILES,
            "libraries": _libraries(),
        }
        with _workspace(needed=lenient) as workspace:
            child = _start({**config, "workspace": workspace})
            return _communicate(child, task, limits.wall_s)


def _start(config: dict[str, object]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603  (running untrusted code, confined, is the purpose)
            [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(config), str(_ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as error:
        raise _no_start(error) from error


def _no_start(error: OSError) -> SkillError:
    return SkillError(f"the code sandbox cannot start: {error}.", remedy="Check memory and process limits.")


class _Report(NamedTuple):
    """What the child has said. `verdict` is None when the tester did not come to its end."""

    missing: Mapping[str, str]
    verdict: Mapping[str, object] | None
    timed_out: bool


def _communicate(child: subprocess.Popen[bytes], task: bytes, wall_s: float) -> _Report:
    """Hand the task over and wait; afterwards no process of the run is alive."""
    timed_out = False
    try:
        output, _ = child.communicate(task, timeout=wall_s)
    except subprocess.TimeoutExpired as error:
        timed_out, output = True, error.output or b""
    finally:
        _kill(child)
    first, _, second = output[:_MAX_REPORT_BYTES].partition(b"\n")
    try:
        missing = json.loads(first)["missing"]
        verdict = json.loads(second) if second else None
    except ValueError:
        raise SkillError(
            "the code sandbox did not start.", remedy="Check memory, process limits and the machine's load."
        ) from None
    return _Report(missing, verdict, timed_out)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """The group holds process 1 of the PID namespace, with which the kernel ends everything inside."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the group may have ended already
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()


@contextlib.contextmanager
def _workspace(*, needed: bool) -> Iterator[str]:
    """A folder for code that runs without the mount namespace; deep trees are removed without recursion."""
    if not needed:
        yield ""
        return
    folder = tempfile.mkdtemp(prefix="muster-code-")
    with contextlib.suppress(OSError):  # root that may become nobody gives the folder to nobody
        os.chown(folder, 65534, 65534)
    try:
        yield folder
    finally:
        remover = shutil.which("rm") or "rm"
        subprocess.run([remover, "-rf", "--", folder], check=False, stderr=subprocess.DEVNULL)  # noqa: S603


def _result(report: _Report) -> SandboxResult:
    if report.timed_out:
        return SandboxResult(False, "tests ran out of time")
    if report.verdict is None:
        return SandboxResult(False, "tests did not finish")
    if report.verdict["passed"] is True:
        return SandboxResult(True)
    return SandboxResult(False, f"tests failed: {_printable(str(report.verdict['reason'])).strip()}")


def _printable(text: str) -> str:
    """Without what a database or a terminal stumbles over: the program chose the text."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


@lru_cache(maxsize=1)
def _libraries() -> dict[str, tuple[str, ...]]:
    """Shared libraries that extension modules of the standard library load: file -> names that link to it.

    Raises:
        SkillError: the interpreter cannot be started.
    """
    command = [sys.executable, "-I", "-S", "-c", _LIST_LIBRARIES, _MODULES_WITH_LIBRARIES]
    try:
        listing = subprocess.run(command, capture_output=True, check=False, text=True, env=_ENVIRONMENT)  # noqa: S603
    except OSError as error:
        raise _no_start(error) from error
    loaded = [Path(line) for line in sorted(listing.stdout.splitlines()) if "lib-dynload" not in line]
    return {str(file): _names_of(file) for file in loaded if file.is_file()}


def _names_of(file: Path) -> tuple[str, ...]:
    """A library is found by the name that others link to it under (`libz.so.1`)."""
    stem = f"{file.name.partition('.so')[0]}.so."
    links = (name for name in file.parent.glob(f"{stem}*") if name.is_symlink() and name.resolve() == file)
    return tuple(sorted(link.name for link in links))
