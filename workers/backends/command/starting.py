"""The way of a server from its command to its first token."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
from pydantic import SecretStr

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from orchestrator.ports.clock import Clock
from workers.backends.command.options import CommandOptions, Filling, launch_of, stated_context
from workers.backends.command.ports import EVERYWHERE, LOOPBACK, free_port, heard_at, is_anothers, is_free
from workers.backends.command.process import CommandProcess, NoStartError
from workers.backends.http.client import ServerAddress, ServerEndpoint
from workers.backends.http.failures import CallError
from workers.backends.http.pulse import Pulse
from workers.checkpoints.gguf import GGUF, GgufError, shards_of
from workers.checkpoints.templates import TemplateFaultError
from workers.checkpoints.turns import ANYTHING, takes_of

log = logging.getLogger(__name__)

PORT_TRIES = 5
MOST_FAILURES = 5
"""Failed calls of a server that says that it is well."""
FIRST_LOOK_S, LONGEST_LOOK_S = 0.05, 0.5
CALL_S = 5.0
"""Longest wait for what a server that is well says at once."""
MEASURE_S = 30.0
"""Between two looks at the memory of a server that works: the kernel counts its pages one by one."""
NO_SUCH_PATH = frozenset({404, 405, 501})

Ports = Callable[[], int]


class PortTakenError(Exception):
    """Somebody else listens where the server was to listen."""


class Up(NamedTuple):
    """A server that writes."""

    process: CommandProcess
    endpoint: ServerEndpoint
    pulse: Pulse


class Starter:
    """Starts one server.

    Args:
        api_key: that it is given, where its command takes one.
        adapters: as the pool names them.
    """

    def __init__(
        self,
        spec: EngineSpec,
        options: CommandOptions,
        *,
        api_key: SecretStr,
        adapters: Sequence[str],
        ports: Ports = free_port,
        clock: Clock = time.monotonic,
    ) -> None:
        self._spec = spec
        self._options = options
        self._api_key = api_key
        self._adapters = adapters
        self._ports = ports
        self._clock = clock
        self._process: CommandProcess | None = None
        self._is_abandoned = False
        self._last_seen = "it did not listen"
        self._is_well = False
        self._takes, self._because = ANYTHING, ""
        try:
            self._takes = takes_of(spec)
        except TemplateFaultError as error:  # its server may make something of it
            self._because = f" The chat template of its model renders no question here: {error}."

    async def start(self) -> Up:
        """The server, once it has written a token.

        Raises:
            EngineLoadError: it ended, or was not ready in time; nothing of it is left.
        """
        for _ in range(PORT_TRIES):
            port = self._ports()
            try:
                return await self._start_at(port)
            except PortTakenError:
                log.warning("engine %s: port %d was taken by somebody else", self._spec.id, port)
        raise EngineLoadError(
            f"engine '{self._spec.id}': each of {PORT_TRIES} ports was taken by somebody else in between."
        )

    def abandon(self) -> None:
        """End what has been started, from any thread: nobody wants it any more."""
        self._is_abandoned = True
        if self._process is not None:
            self._process.kill()

    async def _start_at(self, port: int) -> Up:
        if not is_free(port):
            raise PortTakenError
        process = self._process = self._begun(port)
        try:
            if self._is_abandoned:
                raise EngineLoadError(f"engine '{self._spec.id}': its load was given up.")
            async with asyncio.timeout(self._options.ready_s):
                return await self._ready(process, port)
        except TimeoutError:
            lines, where = process.last_lines(), _where(process, port)
            process.kill()
            raise EngineLoadError(
                f"engine '{self._spec.id}': not ready within {self._options.ready_s:g} s: "
                f"{self._last_seen}.{where}"
                + (f" Its last lines: {lines}" if lines else " It wrote nothing."),
                param="options.ready_s",
                remedy="Raise options.ready_s, or look at what the command does.",
            ) from None
        except BaseException:
            process.kill()
            raise

    def _begun(self, port: int) -> CommandProcess:
        try:
            return CommandProcess(launch_of(self._options, self._filling(port)))
        except NoStartError as error:
            raise EngineLoadError(
                f"engine '{self._spec.id}': {error}",
                param="options.command",
                remedy="Name a program that can be run, by its path or on PATH.",
                is_lasting=error.is_lasting,
            ) from None

    async def _ready(self, process: CommandProcess, port: int) -> Up:
        pulse = Pulse(self._clock)
        await self._await_health(process, port)
        endpoint = self._endpoint(port, pulse, model=self._spec.model)
        try:
            if self._options.model_id is None:
                listed = await self._listed(process, port, endpoint)
                await endpoint.close()
                model = model_among(listed, self._spec)
                endpoint = self._endpoint(port, pulse, model=model)
            await self._await_token(process, port, endpoint)
        except BaseException:
            await endpoint.close()
            raise
        self._require_ours(process, port)
        process.measure()
        return Up(process, endpoint, pulse)

    async def _await_health(self, process: CommandProcess, port: int) -> None:
        """Until the server says that it is well; one that has no such path is asked for a token at once."""
        if self._options.health is None:
            return
        url = f"http://{LOOPBACK}:{port}{self._options.health}"
        pause_s = FIRST_LOOK_S
        async with httpx.AsyncClient(timeout=CALL_S, trust_env=False) as client:
            while True:
                self._require_alive(process, port)
                try:
                    status = (await client.get(url)).status_code
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    self._last_seen = f"{self._options.health}: {error or type(error).__name__}"
                else:
                    self._require_ours(process, port)
                    self._is_well = status == 200
                    if self._is_well or status in NO_SUCH_PATH:
                        break
                    self._last_seen = f"{self._options.health}: HTTP {status}"
                pause_s = await _pause(pause_s)
        if status in NO_SUCH_PATH:
            log.warning("engine %s: its server has no %s", self._spec.id, self._options.health)

    async def _listed(self, process: CommandProcess, port: int, endpoint: ServerEndpoint) -> list[str]:
        """Models that the server says it has; none where it says nothing of the kind."""
        pause_s = FIRST_LOOK_S
        while True:
            self._require_alive(process, port)
            try:
                return await endpoint.models(timeout_s=CALL_S)
            except CallError as error:
                if not error.outage:
                    self._require_ours(process, port)
                    return []
                self._last_seen = f"its list of models: {error}"
            pause_s = await _pause(pause_s)

    async def _await_token(self, process: CommandProcess, port: int, endpoint: ServerEndpoint) -> None:
        pause_s, n_failures = FIRST_LOOK_S, 0
        while True:
            self._require_alive(process, port)
            self._last_seen = "it was asked for a token and said nothing"
            try:
                await endpoint.write_one_token(timeout_s=self._options.ready_s)
            except CallError as error:
                self._require_alive(process, port)
                n_failures += self._is_well and not error.away
                if not error.transient or n_failures >= MOST_FAILURES:
                    self._require_ours(process, port)
                    raise EngineLoadError(
                        f"engine '{self._spec.id}': its server runs, and writes no token: {error}"
                        f"{self._because}",
                        param="options.command",
                        remedy="Mend the command, or set options.model_id to the model's name there.",
                        is_lasting=error.lasting,
                    ) from None
                self._last_seen = f"it was asked for a token: {error}"
            else:
                return
            pause_s = await _pause(pause_s)

    def _require_alive(self, process: CommandProcess, port: int) -> None:
        """
        Raises:
            PortTakenError, EngineLoadError: the command has ended; because of its port, or not.
        """
        ended = process.ended
        if ended is None:
            return
        death = process.death(at_start=True)
        if self._is_abandoned:
            raise EngineLoadError(f"engine '{self._spec.id}': its load was given up.")
        process.kill()
        if not is_free(port):
            raise PortTakenError
        raise EngineLoadError(
            f"engine '{self._spec.id}': its command {death}{self._because}",
            param="options.command",
            is_lasting=ended.is_lasting,
        )

    def _require_ours(self, process: CommandProcess, port: int) -> None:
        if is_anothers(port, own=process.pids, began_with=process.keeper_pid):
            raise PortTakenError

    def _filling(self, port: int) -> Filling:
        spec = self._spec
        return Filling(
            model=_file_of(spec.model),
            name=spec.id,
            port=port,
            api_key=self._api_key,
            concurrent=self._options.concurrent,
            max_model_len=stated_context(spec),
        )

    def _endpoint(self, port: int, pulse: Pulse, *, model: str) -> ServerEndpoint:
        address = self._address(port, model=model)
        return ServerEndpoint(address, pulse=pulse, is_own=True, takes=self._takes)

    def _address(self, port: int, *, model: str) -> ServerAddress:
        options = self._options
        return ServerAddress(
            url=f"http://{LOOPBACK}:{port}{options.api_path}",
            api_key=self._api_key,
            model=options.model_id or model,
            adapter_models={name: options.adapter_models.get(name, name) for name in self._adapters},
            connect_timeout_s=CALL_S,
            stall_timeout_s=options.stall_timeout_s,
            max_response_bytes=options.max_response_bytes,
            stream=options.stream,
            drop_params=options.drop_params,
            extra_body=options.extra_body,
        )


async def _pause(seconds: float) -> float:
    """Wait, and return how long to wait next time."""
    await asyncio.sleep(seconds)
    return min(LONGEST_LOOK_S, 1.5 * seconds)


def _where(process: CommandProcess, port: int) -> str:
    """Sentence on a server that listens, and not where it was told to; "" = it does, or listens nowhere."""
    found = heard_at(process.pids)
    if not found or any(f"{host}:{port}" in found for host in (LOOPBACK, *EVERYWHERE)):
        return ""
    return f" It listens at {', '.join(found)}, not at {LOOPBACK}:{port}."


def _file_of(model: str) -> str:
    """What a command is told to load: of a GGUF model in several files the first, which names the others."""
    path = Path(model)
    try:
        return str(shards_of(path)[0]) if path.suffix.lower() == GGUF and path.is_file() else model
    except GgufError:
        return model


def model_among(listed: Sequence[str], spec: EngineSpec) -> str:
    """The name under which a server serves an engine's model: the only one that it lists, or the one that the
    pool calls so; else the pool's name."""
    path = Path(spec.model)
    names = (spec.model, spec.id, path.name, path.stem)
    known = next((name for name in names if name in listed), None)
    return listed[0] if len(listed) == 1 else known or spec.model
