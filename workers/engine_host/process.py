"""The worker's handle on one child process."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import IO, NamedTuple

from orchestrator.errors import EngineCrashedError, EngineLoadError
from orchestrator.ports.clock import Clock
from workers.backends.registry import get_inner
from workers.engine_host import entry, wire
from workers.engine_host.channel import Channel
from workers.engine_host.signals import named

logger = logging.getLogger(__name__)

TAIL_LINES = 20
EXIT_GRACE_S = 2.0
Reply = wire.Obeyed | wire.Refused


class Launch(NamedTuple):
    """Way to start a child; children of equal launches are interchangeable.

    Attributes:
        inner: a row of the table of backends, or `module:class` of a backend.
        python: interpreter, which may belong to another environment.
        env: variables over those of this process.
    """

    inner: str
    python: str
    env: tuple[tuple[str, str], ...] = ()


class ChildProcess:
    """A process that is starting, waiting, or holding an engine. Not thread-safe.

    Attributes:
        launch: how it was started.
        memory: as last reported; `memory_before` as it was before the first load.
        memory_at_load, memory_loaded: as it was before and after the last load.
        most_rss_gib: the most of its own that it told of since.
        sleep_levels: of the engine that is loaded.
        import_s: seconds its imports took; None while it is starting.
        heard_at: when anything last came from it.
        n_loads: loads it was asked for.

    Raises:
        EngineLoadError: the interpreter cannot be started.
    """

    def __init__(self, launch: Launch, *, clock: Clock = time.monotonic) -> None:
        self.launch = launch
        self.import_s: float | None = None
        self.memory: wire.Memory | None = None
        self.memory_before: wire.Memory | None = None
        self.memory_at_load: wire.Memory | None = None
        self.memory_loaded: wire.Memory | None = None
        self.most_rss_gib = 0.0
        self.sleep_levels: tuple[int, ...] = ()
        self.heard_at = clock()
        self.n_loads = 0
        self._clock = clock
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._crash_reason: str | None = None
        self._pending: deque[wire.Report] = deque()
        ours, theirs = socket.socketpair()
        lifeline_read, self._lifeline = os.pipe()
        try:
            self._process = _start(launch, theirs.fileno(), lifeline_read)
        except OSError as error:
            os.close(self._lifeline)
            ours.close()
            raise EngineLoadError(
                f"the interpreter '{launch.python}' cannot be started: {error.strerror}.",
                param="options.python",
                remedy="Name an existing Python interpreter.",
                is_lasting=isinstance(error, FileNotFoundError | PermissionError),
            ) from error
        finally:
            theirs.close()
            os.close(lifeline_read)
        self._channel = Channel(ours)
        assert self._process.stderr is not None
        self._pump = threading.Thread(
            target=_pump, args=(self._process.stderr, self._tail, self.pid), name="engine-log", daemon=True
        )
        self._pump.start()

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's too; also after its end."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """True while it runs and can be spoken to."""
        return self._process.poll() is None and self._channel.is_open

    @property
    def is_warm(self) -> bool:
        """True once everything is imported."""
        if self.import_s is None and not self._pending:
            with contextlib.suppress(EngineCrashedError):  # whoever waits for a reply is told
                self._pending.extend(self.receive(0.0))
        return self.import_s is not None

    def send(self, command: wire.Command) -> None:
        """Hand over a command; returns at once.

        Raises:
            BackendError: it cannot be encoded.
        """
        if isinstance(command, wire.Load):
            self.n_loads += 1
            self.memory_at_load, self.memory_loaded, self.most_rss_gib = None, None, 0.0
        self._channel.send(wire.encode(command))

    def fileno(self) -> int:
        """Readable when reports arrive, or the child is gone; -1 once closed."""
        return self._channel.fileno()

    def receive(self, timeout_s: float) -> list[wire.Report]:
        """Reports that have arrived; waits at most `timeout_s` for the first.

        Raises:
            EngineCrashedError: it has ended, or sends garbage. Reports that came before its end are
                returned first.
        """
        if self._pending:
            reports = list(self._pending)
            self._pending.clear()
            return reports
        bodies = self._channel.receive(timeout_s)
        if not bodies:
            self._require_alive()
        return self._read(bodies)

    def await_reply(self, timeout_s: float) -> Reply:
        """The answer to the last Load, Unload or Call; events that come before it are kept for `receive`.

        Raises:
            EngineCrashedError: it ended first, or took longer; it is killed then.
        """
        deadline = self._clock() + timeout_s
        kept: list[wire.Report] = []
        while (remaining := deadline - self._clock()) > 0:
            for report in (reports := self.receive(min(remaining, 1.0))):
                if isinstance(report, Reply):
                    self._pending.extend(kept + reports[reports.index(report) + 1 :])
                    return report
                kept.append(report)
        self.kill()
        raise EngineCrashedError(f"the engine's process did not answer within {timeout_s:g} s.")

    def stop(self, timeout_s: float) -> None:
        """Ask it to end and wait; kill it when the time is up. Idempotent."""
        if self.is_alive:
            with contextlib.suppress(EngineCrashedError):
                self._channel.send(wire.encode(wire.Shutdown()))
                self._channel.flush(timeout_s)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """End it, and the processes it started, at once. Idempotent."""
        if self._lifeline < 0:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._channel.close()
        os.close(self._lifeline)
        self._lifeline = -1
        self._pump.join(EXIT_GRACE_S)

    def forget_reports(self) -> None:
        """Drop what was kept: events of an engine that is gone."""
        self._pending.clear()

    def _read(self, bodies: Sequence[bytes]) -> list[wire.Report]:
        """Reports for the caller; what they say about the process itself is noted here."""
        if bodies:
            self.heard_at = self._clock()
        reports = [wire.decode_report(body) for body in bodies]
        for report in reports:
            self._note(report)
        return [report for report in reports if isinstance(report, Reply | wire.EventReport)]

    def _note(self, report: wire.Report) -> None:
        if isinstance(report, wire.Crashed):
            self._crash_reason = report.reason
        elif isinstance(report, wire.Ready):
            self.import_s, self.memory = report.import_s, report.memory
        elif isinstance(report, wire.Obeyed):
            self.memory, self.sleep_levels = report.memory, report.sleep_levels
            self.memory_loaded = self.memory_loaded or report.memory
        elif isinstance(report, wire.Heartbeat):
            self.memory = report.memory
            # The first one of all is sent at the beginning of the first load.
            self.memory_before = self.memory_before or report.memory
            self.memory_at_load = self.memory_at_load or report.memory
        if isinstance(report, wire.Obeyed | wire.Heartbeat):
            self.most_rss_gib = max(self.most_rss_gib, report.memory.rss_gib)

    def _require_alive(self) -> None:
        if self._process.poll() is None and self._channel.is_open:
            return
        if self._channel.is_open:  # what arrived between the last look at the pipe and the child's end
            self._pending.extend(self._read(self._channel.receive(0.0)))
            if self._pending:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_GRACE_S)
        code = self._process.poll()
        self.kill()
        raise EngineCrashedError(self._crash_reason or f"the engine's process {death(code, self._tail)}")


def death(code: int | None, tail: Sequence[str]) -> str:
    """Cause of a process's end, in words, with the last line it wrote.

    Args:
        code: as `Popen.returncode`: below 0, the signal that ended it; None = it has not ended.
        tail: the last lines that it wrote.
    """
    last = next((f" Its last words: {line}" for line in reversed(tail) if line.strip()), "")
    if code is None:
        return f"closed its pipe without ending.{last}"
    if code == -signal.SIGKILL:
        return (
            "was killed (signal 9), most likely because memory ran out. "
            "Check the kernel's log; give it less (max_model_len, kv_cache_gib) or use a larger machine."
        )
    if code < 0:
        return f"was ended by signal {-code}{named(-code)}.{last}"
    return f"exited with code {code}.{last}"


def _adopted(inner: str) -> dict[str, Path]:
    """Packages that a child gets from here, whatever its interpreter has: ours, and the inner backend's."""
    names = ["orchestrator", "workers", "aggregators", inner.partition(":")[0].partition(".")[0]]
    specs = {name: find_spec(name) for name in names}
    return {name: _home(spec) for name, spec in specs.items() if spec is not None and spec.has_location}


def _home(spec: ModuleSpec) -> Path:
    """The folder of a package, the file of a module."""
    file = Path(spec.origin or "").resolve()
    return file.parent if spec.submodule_search_locations else file


def _start(launch: Launch, channel: int, lifeline: int) -> "subprocess.Popen[bytes]":
    inner = get_inner(launch.inner)
    packages = [f"{name}={path}" for name, path in _adopted(inner.path).items()]
    script = str(Path(entry.__file__).resolve())
    return subprocess.Popen(  # noqa: S603 -- the interpreter is configuration, the rest is ours
        [launch.python, script, *packages, "--", str(channel), str(lifeline), inner.path, *inner.preload],
        pass_fds=(channel, lifeline),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **dict(launch.env)},
        start_new_session=True,  # a Ctrl-C is for the worker, which ends its children itself
    )


def _pump(stream: IO[bytes], tail: "deque[str]", pid: int) -> None:
    with stream:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip()
            tail.append(line)
            logger.debug("child %d: %s", pid, line)
