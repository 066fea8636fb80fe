"""A backend whose engines live in child processes: any inner backend, warm spares, swaps in place."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineCrashedError, EngineLoadError
from orchestrator.ports.clock import Clock
from workers.backends.registry import get_inner
from workers.engine_host import wire
from workers.engine_host.engine import HostedEngine
from workers.engine_host.memory import RESERVE_GIB, TOLERANCE_GIB, available_gib, came_back, needed_gib
from workers.engine_host.process import ChildProcess, Launch
from workers.engine_host.spares import STOP_S, SparePool

logger = logging.getLogger(__name__)

PythonOf = Callable[[EngineSpec], str]
EnvOf = Callable[[EngineSpec], Mapping[str, str]]


class Patience(NamedTuple):
    """Time that a child may take, in seconds: for its imports and a load together, for silence under
    requests, for dropping an engine, for other calls."""

    load_s: float = 1800.0
    hang_s: float = 300.0
    unload_s: float = 20.0
    call_s: float = 300.0


DEFAULT_PATIENCE = Patience()


class _Prepared(NamedTuple):
    spec: EngineSpec
    adapters: tuple[str, ...]
    child: ChildProcess
    was_warm: bool


class HostedBackend:
    """Implements `ports.Backend`. Engines of one backend may be resident side by side.

    Args:
        inner: a row of the table of backends, or `module:class` of a backend.
        python: interpreter of the children, or a function that names it for an engine; this
            process's own by default.
        env: variables of the children, over those of this process, or a function that names them for
            an engine. Engines with equal interpreters and variables share children.
        n_spares: warm children kept per interpreter; each costs the memory of its imports.
        tolerance_gib: a child that dropped its engine may hold so much more memory than before its
            first load, and is used again.

    Attributes:
        n_loads: engines loaded so far.

    Raises:
        UnknownNameError: no such inner backend.
    """

    def __init__(
        self,
        inner: str,
        *,
        python: str | PythonOf = sys.executable,
        env: Mapping[str, str] | EnvOf | None = None,
        n_spares: int = 1,
        tolerance_gib: float = TOLERANCE_GIB,
        patience: Patience = DEFAULT_PATIENCE,
        clock: Clock = time.monotonic,
    ) -> None:
        get_inner(inner)
        self.n_loads = 0
        self._inner = inner
        self._python = python
        self._env = env or {}
        self._n_spares = n_spares
        self._tolerance_gib = tolerance_gib
        self._patience = patience
        self._clock = clock
        self._pools: dict[Launch, SparePool] = {}
        self._lock = threading.Lock()
        self._prepared: _Prepared | None = None
        self._unloading: list[ChildProcess] = []
        self._resident: list[ChildProcess] = []
        self._took_gib: dict[str, float] = {}

    def warm_up(self, spec: EngineSpec) -> None:
        """Start the spares that engines like `spec` will use; returns at once.

        Raises:
            EngineLoadError: their interpreter cannot be started.
        """
        self._pool(spec).replenish()

    def prepare(self, spec: EngineSpec, adapters: Sequence[str]) -> bool:
        """Begin to load an engine in a spare while others work; the next `load` of it finds it there.

        Does not wait for the load. One engine is prepared at a time; another one replaces it.

        Returns:
            False when memory does not allow it, or nobody knows what the engine takes.

        Raises:
            EngineLoadError: no child could be started.
        """
        if self._prepared is not None and self._prepared[:2] == (spec, tuple(adapters)):
            return True
        self.discard_prepared()
        if not self.fits(spec):
            return False
        self._settle_unloading()  # a child that has everything imported loads sooner than a new one
        self._prepared = _Prepared(spec, tuple(adapters), *self._begin(spec, adapters))
        return True

    def fits(self, spec: EngineSpec) -> bool:
        """True if memory allows the engine beside those that are resident; False when nobody knows."""
        needed = self._took_gib.get(spec.id) or needed_gib(spec)
        on_device = [c.memory.cuda_free_gib for c in self._resident if c.memory is not None]
        free = [gib for gib in on_device if gib is not None]
        available = min(free) if free else available_gib()
        return needed is not None and available is not None and needed + RESERVE_GIB <= available

    def discard_prepared(self) -> None:
        """Free what `prepare` loads."""
        with self._lock:
            prepared, self._prepared = self._prepared, None
        if prepared is not None:
            prepared.child.kill()

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> HostedEngine:
        """Load into the prepared child, one whose engine was dropped, a warm spare, or a new child.

        Raises:
            EngineLoadError: as the inner backend says; or the child died, with how.
        """
        started = self._clock()
        child, was_warm = self._load_prepared(spec, adapters) or self._load_now(spec, adapters)
        self.n_loads += 1
        self._remember_size(spec, child)
        self._resident.append(child)
        # A child that drops its engine will be idle in a moment: no need to start another one for it.
        self._pool(spec).replenish(n_coming=len(self._unloading))
        return HostedEngine(
            spec.id,
            child,
            release=partial(self._release, spec),
            load_s=self._clock() - started,
            was_warm=was_warm,
            hang_timeout_s=self._patience.hang_s,
            call_timeout_s=self._patience.call_s,
            clock=self._clock,
        )

    def close(self) -> None:
        """End all children but those whose engines are in use. Idempotent; what is loaded later starts
        new ones."""
        self.discard_prepared()
        self._settle_unloading()
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()

    # ── loading ───────────────────────────────────────────────────────────────────────────────────

    def _load_prepared(self, spec: EngineSpec, adapters: Sequence[str]) -> tuple[ChildProcess, bool] | None:
        with self._lock:
            prepared = self._prepared
            if prepared is None or prepared[:2] != (spec, tuple(adapters)):
                return None
            self._prepared = None
        try:
            self._finish(spec, prepared.child)
        except EngineLoadError as error:
            # Beside another engine there may have been too little memory; alone it gets all there is.
            logger.warning("engine %s: loading ahead failed: %s", spec.id, error)
            return None
        return prepared.child, prepared.was_warm

    def _load_now(self, spec: EngineSpec, adapters: Sequence[str]) -> tuple[ChildProcess, bool]:
        self._settle_unloading()
        child, was_warm = self._begin(spec, adapters)
        self._finish(spec, child)
        return child, was_warm

    def _begin(self, spec: EngineSpec, adapters: Sequence[str]) -> tuple[ChildProcess, bool]:
        """A child that loads the engine, and whether it had everything imported before."""
        child = self._pool(spec).take()
        was_warm = child.is_warm
        child.send(wire.Load(spec=spec, adapters=tuple(adapters)))
        return child, was_warm

    def _finish(self, spec: EngineSpec, child: ChildProcess) -> None:
        try:
            reply = child.await_reply(self._patience.load_s)
        except EngineCrashedError as error:
            child.kill()
            raise EngineLoadError(f"engine '{spec.id}': while loading, {error}", param="model") from error
        if isinstance(reply, wire.Refused):
            child.kill()  # what a failed load left behind is unknown
            message = reply.message if spec.id in reply.message else f"engine '{spec.id}': {reply.message}"
            raise EngineLoadError(message, param=reply.param, is_lasting=reply.is_lasting)

    def _pool(self, spec: EngineSpec) -> SparePool:
        python = self._python if isinstance(self._python, str) else self._python(spec)
        env = self._env(spec) if callable(self._env) else self._env
        return self._pool_of(Launch(self._inner, python, tuple(sorted(env.items()))))

    def _pool_of(self, launch: Launch) -> SparePool:
        with self._lock:
            if launch not in self._pools:
                start = partial(ChildProcess, clock=self._clock)
                self._pools[launch] = SparePool(launch, n_spares=self._n_spares, start=start)
            return self._pools[launch]

    # ── memory ────────────────────────────────────────────────────────────────────────────────────

    def _remember_size(self, spec: EngineSpec, child: ChildProcess) -> None:
        before, after = child.memory_before, child.memory
        if before is None or after is None or child.n_loads > 1:
            return
        if before.cuda_free_gib is not None and after.cuda_free_gib is not None:
            self._took_gib[spec.id] = max(0.0, before.cuda_free_gib - after.cuda_free_gib)
        else:
            self._took_gib[spec.id] = max(0.0, after.rss_gib - before.rss_gib)

    def _release(self, spec: EngineSpec, child: ChildProcess) -> None:
        """Take back the child of a closed engine; its device memory is free when this returns, unless
        the next engine is prepared: then nobody waits for that memory."""
        self._resident.remove(child)
        if spec.tensor_parallel_size > 1 or not child.is_alive:
            child.kill()  # workers of its own: what they hold cannot be measured from here
            return
        child.send(wire.Unload())
        self._unloading.append(child)
        if self._prepared is None:
            self._settle_unloading()

    def _settle_unloading(self) -> None:
        with self._lock:
            children, self._unloading = self._unloading, []
        for child in children:
            self._settle(child)

    def _settle(self, child: ChildProcess) -> None:
        """Keep a child that dropped its engine and gave the memory back; end any other."""
        try:
            reply = child.await_reply(self._patience.unload_s)
        except EngineCrashedError as error:
            logger.warning("child %d ended while it dropped its engine: %s", child.pid, error)
            child.kill()
            return
        child.forget_reports()
        before, after = child.memory_before, child.memory
        if (
            isinstance(reply, wire.Obeyed)
            and before is not None
            and after is not None
            and came_back(before, after, tolerance_gib=self._tolerance_gib)
        ):
            self._pool_of(child.launch).give_back(child)
            return
        logger.info("child %d kept memory of its engine (%s, before %s): ended", child.pid, after, before)
        child.stop(STOP_S)
