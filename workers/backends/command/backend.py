"""The `command` backend: any server that speaks OpenAI's API, started by a command, ended with its worker."""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pydantic import SecretStr

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from orchestrator.pool import LOCAL, EngineAccess
from orchestrator.ports.clock import Clock
from workers.backends.command.checking import require_none
from workers.backends.command.options import CommandOptions
from workers.backends.command.process import CommandProcess
from workers.backends.http.calls import call_policy
from workers.backends.options import read_options
from workers.engine_host.memory import RESERVE_GIB, available_gib, needed_gib

if TYPE_CHECKING:
    from workers.backends.command.engine import CommandEngine
    from workers.backends.command.starting import Starter, Up
    from workers.backends.http.background import BackgroundLoop

log = logging.getLogger(__name__)


class _Starting(NamedTuple):
    """A server on its way."""

    spec: EngineSpec
    adapters: tuple[str, ...]
    starter: "Starter"
    loop: "BackgroundLoop"
    up: "Future[Up]"

    def abandon(self) -> None:
        """End it, whatever it is at."""
        self.starter.abandon()
        self.up.cancel()
        self.loop.close()


class CommandBackend:
    """Implements `ports.Backend`, and loads one engine ahead where memory allows.

    Args:
        access: keys and patience, by engine id.
        ports: chooses the port of a server.

    Attributes:
        peak_gib: most memory that each engine's processes were seen to hold, by engine id; none
            of those that use a card.
    """

    def __init__(
        self,
        access: Mapping[str, EngineAccess] | None = None,
        *,
        ports: Callable[[], int] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.peak_gib: dict[str, float] = {}
        self._access = access or {}
        self._ports = ports
        self._clock = clock
        self._lock = threading.Lock()
        self._prepared: _Starting | None = None
        self._loading: list[_Starting] = []

    def warm_up(self, spec: EngineSpec) -> None:
        """Nothing can be done before the model is known: a server begins with it."""

    def prepare(self, spec: EngineSpec, adapters: Sequence[str]) -> bool:
        """Start a server while others work; the next `load` of it finds it there. Does not wait for it.

        Returns:
            False when memory does not allow it, or nobody knows what it takes.

        Raises:
            EngineLoadError: its configuration is wrong.
        """
        if self._prepared is not None and self._prepared[:2] == (spec, tuple(adapters)):
            return True
        self.discard_prepared()
        if not self.fits(spec):
            return False
        self._prepared = self._begin(spec, adapters)
        return True

    def discard_prepared(self) -> None:
        """End what `prepare` started."""
        with self._lock:
            prepared, self._prepared = self._prepared, None
        if prepared is not None:
            self._abandon(prepared)

    def fits(self, spec: EngineSpec) -> bool:
        """True if memory allows the engine beside what runs; False when nobody knows."""
        needed, available = self.needed_gib(spec), available_gib()
        return needed is not None and available is not None and needed + RESERVE_GIB <= available

    def needed_gib(self, spec: EngineSpec) -> float | None:
        """Memory that an engine takes: as it was measured, promised, or can be told from its files; None =
        nobody knows."""
        return self.peak_gib.get(spec.id) or needed_gib(spec)

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> "CommandEngine":
        """Start the server, or take the one that `prepare` started, and wait until it writes.

        Raises:
            EngineLoadError: it is configured wrongly, ended, or was not ready in time; with the last lines
                that it wrote.
        """
        with self._lock:
            prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[:2] != (spec, tuple(adapters)):
            self._abandon(prepared)
            prepared = None
        if prepared is not None:
            try:
                return self._finish(prepared)
            except EngineLoadError as error:
                # Beside another engine there may have been too little memory; alone it gets all there is.
                log.warning("engine %s: loading ahead failed: %s", spec.id, error)
        return self._finish(self._begin(spec, adapters))

    def close(self) -> None:
        """End all servers but those of engines in use. Idempotent."""
        self.discard_prepared()
        with self._lock:
            loading = list(self._loading)
        for starting in loading:
            starting.starter.abandon()

    def _abandon(self, starting: _Starting) -> None:
        with self._lock:
            self._loading.remove(starting)
        starting.abandon()

    def _begin(self, spec: EngineSpec, adapters: Sequence[str]) -> _Starting:
        require_none(spec)
        options = read_options(CommandOptions, spec)

        from workers.backends.command.ports import free_port
        from workers.backends.command.starting import Starter
        from workers.backends.http.background import BackgroundLoop

        access = self._access.get(spec.id, LOCAL)
        starter = Starter(
            spec,
            options,
            api_key=access.api_key or SecretStr(secrets.token_urlsafe(24)),
            adapters=adapters,
            ports=self._ports or free_port,
            clock=self._clock,
        )
        loop = BackgroundLoop(f"muster-{spec.id}")
        starting = _Starting(spec, tuple(adapters), starter, loop, loop.start(starter.start()))
        with self._lock:
            self._loading.append(starting)
        return starting

    def _finish(self, starting: _Starting) -> "CommandEngine":
        from workers.backends.command.engine import CommandEngine
        from workers.backends.http.engine import RemoteEngine

        spec, options = starting.spec, read_options(CommandOptions, starting.spec)
        try:
            up = starting.up.result()
        except CancelledError:
            raise EngineLoadError(f"engine '{spec.id}': its load was given up.") from None
        except BaseException:
            starting.loop.close()
            raise
        finally:
            with self._lock:
                self._loading.remove(starting)
        self._note(spec, up.process)
        access = self._access.get(spec.id, LOCAL)
        calls = RemoteEngine(
            spec.id,
            up.endpoint,
            call_policy(options, access, spec.reasoning)._replace(max_concurrent=options.concurrent),
            max_model_len=spec.max_model_len,
            adapters=starting.adapters,
            loop=starting.loop,
            clock=self._clock,
        )
        return CommandEngine(
            spec.id,
            up,
            calls,
            loop=starting.loop,
            hang_s=options.hang_s,
            release=partial(self._note, spec),
            clock=self._clock,
        )

    def _note(self, spec: EngineSpec, process: CommandProcess) -> None:
        if process.uses_card:
            return
        self.peak_gib[spec.id] = max(process.peak_gib, self.peak_gib.get(spec.id, 0.0))
