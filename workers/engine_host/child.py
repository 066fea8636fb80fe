"""The child's side: one process, at most one engine, driven by commands from the worker."""

import importlib
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.errors import (
    BackendError,
    EngineCrashedError,
    EngineLoadError,
    IncompatibleModelsError,
    MusterError,
    UnsupportedError,
)
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import Backend, Engine, Failed, Sleeping, Tokens, Weighed
from orchestrator.redaction import remember_environment
from orchestrator.runtime.logs import setup_logs
from workers.engine_host import wire
from workers.engine_host.channel import Channel
from workers.engine_host.lifeline import die_with
from workers.engine_host.memory import freeze_imports, give_memory_back, read_memory

logger = logging.getLogger(__name__)

POLL_S = 0.005
"""How long a new request may wait for the step loop to look at the pipe, when nothing else happens."""
IDLE_S = 60.0
HEARTBEAT_S = 1.0
SEND_S = 3600.0
EXIT_LOAD, EXIT_CRASHED = 3, 4


class Arguments(NamedTuple):
    channel: int
    lifeline: int
    backend: str
    preload: tuple[str, ...]


class EngineServer:
    """Serves one channel until it closes."""

    def __init__(self, channel: Channel, backend: Backend, *, clock: Clock = time.monotonic) -> None:
        self._channel = channel
        self._backend = backend
        self._clock = clock
        self._engine: Engine | None = None
        self._running: set[str] = set()
        self._beat_at = clock()
        self._closing = False

    def run(self) -> None:
        """Answer commands and drive the engine.

        Raises:
            EngineCrashedError: the engine broke, or the pipe carries garbage.
        """
        while self._channel.is_open and not self._closing:
            for body in self._channel.receive(0.0 if self._running else IDLE_S):
                self._obey(wire.decode_command(body))
            if self._engine is not None and self._running:
                self._step(self._engine)
        self._drop()

    def report(self, report: wire.Report) -> None:
        """Send, waiting for a slow reader: its buffer is what bounds this process's memory."""
        self._channel.send(wire.encode(report))
        self._channel.flush(SEND_S)

    # ── commands ──────────────────────────────────────────────────────────────────────────────────

    def _obey(self, command: wire.Command) -> None:
        if isinstance(command, wire.Submit):
            self._submit(command)
        elif isinstance(command, wire.Abort):
            if self._engine is not None and command.id in self._running:
                self._engine.abort(command.id)
        elif isinstance(command, wire.Shutdown):
            self._closing = True
        else:
            self._answer(command)

    def _submit(self, command: wire.Submit) -> None:
        request = command.request
        try:
            if self._engine is None:
                raise BackendError("no engine is loaded.")
            self._engine.submit(request)
        except EngineCrashedError:
            raise
        except BackendError as error:
            self.report(wire.FailedReport(event=Failed(request.id, error.code, str(error))))
        else:
            self._running.add(request.id)

    def _answer(self, command: wire.Load | wire.Unload | wire.Call) -> None:
        started = self._clock()
        try:
            stats = self._do(command)
        except EngineCrashedError:
            raise
        except MusterError as error:
            lasting = isinstance(error, EngineLoadError | IncompatibleModelsError) and error.is_lasting
            refused = wire.Refused(code=error.code, message=str(error), param=error.param, is_lasting=lasting)
            self.report(refused)
        except Exception as error:  # the worker must hear of it, whatever a library raises
            logger.exception("%s failed", command.kind)
            reason = " ".join(str(error).split())[:1000]
            self.report(wire.Refused(code="backend_error", message=f"{type(error).__name__}: {reason}."))
        else:
            cuda = self._engine is not None or isinstance(command, wire.Unload)
            engine = self._engine
            levels = engine.sleep_levels if isinstance(engine, Sleeping) else ()
            self.report(
                wire.Obeyed(
                    seconds=self._clock() - started,
                    memory=self._memory(cuda=cuda),
                    stats=stats,
                    sleep_levels=levels,
                )
            )

    def _do(self, command: wire.Load | wire.Unload | wire.Call) -> wire.EngineStats | None:
        if isinstance(command, wire.Call):
            return self._call(command)
        self._drop()
        if isinstance(command, wire.Load):
            # What the device had before is the measure for what must come back later.
            self.report(wire.Heartbeat(memory=read_memory(cuda=True)))
            self._engine = self._backend.load(command.spec, command.adapters)
        return None

    def _call(self, command: wire.Call) -> wire.EngineStats | None:
        method = getattr(self._engine, command.method, None)
        if method is None:
            raise UnsupportedError(f"this engine does not offer '{command.method}'.")
        result = method() if command.argument is None else method(command.argument)
        return result if isinstance(result, wire.EngineStats) else None

    def _memory(self, *, cuda: bool) -> wire.Memory:
        """Of the process and of its engine."""
        memory = read_memory(cuda=cuda)
        own = self._engine.weigh() if isinstance(self._engine, Weighed) else None
        if own is None:
            return memory
        return memory.model_copy(update={"engine_gib": own.held_gib, "engine_peak_gib": own.peak_gib})

    def _drop(self) -> None:
        if self._engine is None:
            return
        self._engine.close()
        self._engine = None
        self._running.clear()
        give_memory_back()

    # ── the step loop ─────────────────────────────────────────────────────────────────────────────

    def _step(self, engine: Engine) -> None:
        events = engine.poll(POLL_S)
        for event in events:
            if not isinstance(event, Tokens):
                self._running.discard(event.id)
            self._channel.send(wire.encode(wire.as_report(event)))
        if self._clock() - self._beat_at >= HEARTBEAT_S:
            self._beat_at = self._clock()
            self._channel.send(wire.encode(wire.Heartbeat(memory=self._memory(cuda=True))))
        self._channel.flush(SEND_S)


def main(arguments: Sequence[str]) -> None:
    """`channel lifeline module:class [module to import ...]`."""
    channel_fd, lifeline_fd, backend, *preload = arguments
    serve(Arguments(int(channel_fd), int(lifeline_fd), backend, tuple(preload)))


def serve(arguments: Arguments) -> None:
    """Serve a worker until it ends; never returns."""
    for descriptor in (arguments.channel, arguments.lifeline):
        os.set_inheritable(descriptor, False)
    die_with(arguments.lifeline)
    os.dup2(2, 1)  # what libraries print is not for the worker's own output
    remember_environment(os.environ)
    setup_logs(level=logging.WARNING, form="%(levelname)s %(name)s: %(message)s")
    channel = Channel(socket.socket(fileno=arguments.channel))
    code = _survive(channel, lambda: _run(channel, arguments))
    # Threads of libraries must not keep a finished child alive.
    logging.shutdown()
    os._exit(code)


def _run(channel: Channel, arguments: Arguments) -> int:
    started = time.monotonic()
    try:
        for module in arguments.preload:
            importlib.import_module(module)
        backend = _backend(arguments.backend)
    except ImportError as error:
        message = f"{type(error).__name__}: {error}"
        channel.send(wire.encode(wire.Refused(code="import_failed", message=message)))
        channel.flush(SEND_S)
        return EXIT_LOAD
    freeze_imports()
    server = EngineServer(channel, backend)
    server.report(wire.Ready(import_s=time.monotonic() - started, memory=read_memory(cuda=False)))
    server.run()
    return 0


def _backend(path: str) -> Backend:
    module, _, name = path.partition(":")
    backend: Backend = getattr(importlib.import_module(module), name)()
    return backend


def _survive(channel: Channel, run: Callable[[], int]) -> int:
    """The exit code of `run`; what ends it early is reported before."""
    try:
        return run()
    except Exception as error:
        logger.exception("the engine broke")
        reason = str(error) if isinstance(error, MusterError) else f"{type(error).__name__}: {error}"
        channel.send(wire.encode(wire.Crashed(reason=" ".join(reason.split())[:1000])))
        channel.flush(10.0)
        return EXIT_CRASHED
