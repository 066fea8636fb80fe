"""Loads, prepares and closes engines in the background."""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from threading import Lock
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

from orchestrator.domain.devices import LoadKind
from orchestrator.domain.experts import EngineSpec, Expert, Pool
from orchestrator.errors import EngineLoadError, MusterError
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import Backend, Engine
from orchestrator.tables import is_out_of_memory, reason_of, require
from workers.backends.registry import BACKENDS
from workers.device.errands import Errands
from workers.device.page_cache import HOT_SHARE, ReadAhead, cached_share
from workers.device.seat import Seat
from workers.device.sleepers import Sleepers
from workers.engine_host.memory import weight_files

log = logging.getLogger(__name__)

MEMORY_REMEDY = "Free memory of the device or the host, or set options that make the engine take less."
ENGINE_METHODS = ("submit", "poll", "abort", "close")


@runtime_checkable
class PreparingBackend(Protocol):
    """A backend that can load an engine while another one works."""

    def warm_up(self, spec: EngineSpec) -> None:
        """Begin what engines like `spec` need and what is the same for all of them; returns at once.

        Raises:
            EngineLoadError: it cannot be begun.
        """

    def prepare(self, spec: EngineSpec, adapters: Sequence[str]) -> bool:
        """Begin to load an engine while others work, without waiting; the next `load` of it finds it there.
        One engine is prepared at a time; another one replaces it.

        Returns:
            False when memory does not allow it, or nobody knows what the engine takes.

        Raises:
            EngineLoadError: it cannot be begun.
        """

    def discard_prepared(self) -> None:
        """Give up what `prepare` began; nothing happens where nothing was."""

    def fits(self, spec: EngineSpec) -> bool:
        """True if memory allows the engine beside those that are resident."""

    def close(self) -> None:
        """End all that it keeps running but engines in use. Idempotent; it may be used again."""


class BackendShelf:
    """One backend per name, made when it is first needed; for any thread."""

    def __init__(self, make: Callable[[str], Backend]) -> None:
        self._make = make
        self._made: dict[str, Backend] = {}
        self._preparing: dict[str, PreparingBackend | None] = {}
        self._lock = Lock()

    def get(self, name: str) -> Backend:
        """The backend of that name, as `make` makes it; raises as it does."""
        with self._lock:
            return self._get(name)

    def preparing(self, name: str) -> PreparingBackend | None:
        """The backend of a name, if it prepares engines; asked once, since that takes long to find out."""
        with self._lock:
            backend = self._get(name)
            if name not in self._preparing:
                self._preparing[name] = backend if isinstance(backend, PreparingBackend) else None
            return self._preparing[name]

    def close(self) -> None:
        """End what backends keep running. They are made anew when they are needed again."""
        with self._lock:
            made, self._made, self._preparing = self._made, {}, {}
        for backend in made.values():
            if isinstance(backend, PreparingBackend):
                backend.close()

    def _get(self, name: str) -> Backend:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]


class Loaded(NamedTuple):
    """An engine, the seconds that its load took, whether it was prepared before, the kind of load, and why
    adapters were left out."""

    engine: Engine
    seconds: float
    was_prepared: bool
    kind: LoadKind = LoadKind.COLD
    left_out: Mapping[str, str] = MappingProxyType({})


class _Ahead(NamedTuple):
    engine_id: str
    began: "Future[bool]"
    since: float


class Loader:
    """Changes the engines of one device, one step after the other; every method returns at once.

    Attributes:
        ahead: the engine that is prepared, or is about to be.

    Args:
        sleepers: holds the engines that sleep instead of being closed; None = all are closed.
        reader: reads weights into the page cache; None = nobody does.
    """

    def __init__(
        self,
        shelf: BackendShelf,
        pool: Pool,
        *,
        clock: Clock,
        name: str,
        sleepers: Sleepers | None = None,
        reader: ReadAhead | None = None,
    ) -> None:
        self._sleepers = sleepers
        self._reader = reader
        self._shelf = shelf
        self._pool = pool
        self._clock = clock
        self._errands = Errands(f"muster-load-{name}")
        self._prepared: _Ahead | None = None
        self._left_out: dict[str, Mapping[str, str]] = {}

    @property
    def ahead(self) -> str | None:
        """The engine that is prepared, or is about to be; None once it turned out that it could not be."""
        if self._prepared is None or (self._prepared.began.done() and not self._prepared.began.result()):
            return None
        return self._prepared.engine_id

    @property
    def ahead_s(self) -> float:
        """For how long that has been prepared; 0 where nothing is."""
        return 0.0 if self._prepared is None else max(0.0, self._clock() - self._prepared.since)

    def prepares(self, backend: str) -> bool:
        """True if engines of a backend can be loaded while another one works, in the same place."""
        return self._shelf.preparing(backend) is not None

    def warm_up(self, engine_ids: Sequence[str]) -> None:
        """Start the spares that these engines will use."""
        self._errands.run(lambda: self._warm_up([self._pool.known_engines[e] for e in engine_ids]))

    def load(self, engine_id: str) -> "Future[Loaded]":
        """Load an engine; what was prepared instead of it is discarded first."""
        ahead, self._prepared = self._prepared, None
        self.stop_reading()
        return self._errands.run(lambda: self._load(engine_id, ahead))

    def read_ahead(self, engine_id: str) -> None:
        """Begin to read an engine's weights into the page cache, instead of another one's."""
        if self._reader is not None and self._reader.engine_id != engine_id:
            self._reader.begin(engine_id, weight_files(self._pool.known_engines[engine_id]))

    def stop_reading(self) -> None:
        """Read nothing ahead any more."""
        if self._reader is not None:
            self._reader.stop()

    @property
    def were_read(self) -> frozenset[str]:
        """Engines whose weights were read ahead to their end."""
        return frozenset() if self._reader is None else self._reader.done

    def close(self, close: Callable[[], None]) -> None:
        """Close an engine, before anything else is loaded."""
        self._errands.run(close)

    def retire(self, seat: Seat) -> None:
        """Free the device of an engine that may come back, before anything else is loaded: it sleeps, or else
        it is closed."""
        sleepers = self._sleepers
        self._errands.run(seat.close if sleepers is None else lambda: sleepers.take(seat))

    @property
    def asleep(self) -> frozenset[str]:
        """Engines that a wake brings back; for any thread."""
        return frozenset() if self._sleepers is None else self._sleepers.engine_ids

    def leave(self) -> None:
        """Free what is prepared and what sleeps."""
        self.discard()
        self.stop_reading()
        if self._sleepers is not None:
            self._errands.run(self._sleepers.close)

    def prepare(self, engine_id: str) -> None:
        """Begin to load an engine beside the resident one, where its backend can and memory allows."""
        if self._prepared is not None and self._prepared.engine_id == engine_id:
            return
        self.discard()
        began = self._errands.run(lambda: self._prepare(engine_id))
        self._prepared = _Ahead(engine_id, began, self._clock())

    def discard(self) -> None:
        """Free what is prepared."""
        ahead, self._prepared = self._prepared, None
        if ahead is not None:
            self._errands.run(lambda: self._discard(ahead))

    def allows(self, engine_id: str) -> bool:
        """False if the engine's backend says that it does not fit beside those that are loaded."""
        spec = self._pool.known_engines[engine_id]
        backend = self._shelf.preparing(spec.backend)
        return backend is None or backend.fits(spec)

    def wait(self, timeout_s: float) -> bool:
        """True if everything begun has ended; waits for it."""
        return self._errands.wait(timeout_s)

    # ── in the background ─────────────────────────────────────────────────────────────────────────

    def _load(self, engine_id: str, ahead: _Ahead | None) -> Loaded:
        if ahead is not None and ahead.engine_id != engine_id:
            self._discard(ahead)
        spec = self._pool.known_engines[engine_id]
        started = self._clock()
        if self._sleepers is not None and (engine := self._sleepers.wake(spec)) is not None:
            left_out = self._left_out.get(engine_id, {})
            return Loaded(engine, self._clock() - started, False, LoadKind.WAKE, left_out)
        share = cached_share(weight_files(spec))
        imported = has_imports(spec.backend)
        engine, left_out = self._load_usable(spec)
        self._left_out[engine_id] = left_out
        was_prepared = ahead is not None and ahead.engine_id == engine_id and ahead.began.result()
        kind = kind_of(share, getattr(engine, "was_warm", imported))
        return Loaded(engine, self._clock() - started, was_prepared, kind, left_out)

    def _load_usable(self, spec: EngineSpec) -> tuple[Engine, Mapping[str, str]]:
        """The engine, with those of its adapters that can be used, and why the others cannot.

        Raises:
            EngineLoadError: also if no expert would be left.
        """
        left_out: dict[str, str] = {}
        experts = experts_of(self._pool, spec.id).values()
        while True:
            adapters = [a for a in adapters_of(self._pool, spec.id) if a not in left_out]
            try:
                return self._loaded(spec, adapters), left_out
            except EngineLoadError as error:
                named = [a for a in adapters if f"'{a}'" in error.message] if error.param == "adapter" else []
                left_out |= dict.fromkeys(named, error.message)
                if not named or all(expert.adapter in left_out for expert in experts):
                    raise
                log.warning("engine %s: loaded without %s: %s", spec.id, ", ".join(named), error)

    def _loaded(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        """The engine that a backend loads. A package's may raise anything, or give none: that is told.

        Raises:
            EngineLoadError: also if memory ran out, whoever says so.
        """
        backend = self._shelf.get(spec.backend)
        try:
            with BACKENDS.blame(spec.backend):
                engine = backend.load(spec, adapters)
                require(engine, "Engine", ENGINE_METHODS)
        except MusterError:
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            message = f"engine '{spec.id}': memory ran out while it was loaded: {reason_of(error)}."
            raise EngineLoadError(message, remedy=MEMORY_REMEDY) from error
        return engine

    def _prepare(self, engine_id: str) -> bool:
        if engine_id in self.asleep:
            return False  # a wake brings it back: what is prepared would be taken by nobody
        spec = self._pool.known_engines[engine_id]
        try:
            backend = self._shelf.preparing(spec.backend)
            return backend is not None and backend.prepare(spec, adapters_of(self._pool, engine_id))
        except MusterError as error:  # its load will say so again, when it counts
            log.warning("engine %s: not prepared: %s", engine_id, error)
            return False

    def _discard(self, ahead: _Ahead) -> None:
        backend = self._shelf.preparing(self._pool.known_engines[ahead.engine_id].backend)
        if backend is not None:
            backend.discard_prepared()

    def _warm_up(self, specs: Sequence[EngineSpec]) -> None:
        for spec in specs:
            try:
                backend = self._shelf.preparing(spec.backend)
                if backend is not None:
                    backend.warm_up(spec)
            except MusterError as error:
                log.warning("engine %s: no warm spare: %s", spec.id, error)


def has_imports(backend: str) -> bool | None:
    """True if this process has imported what engines of a backend need; None = nobody says what that is."""
    row = BACKENDS.get(backend)
    needed = () if row is None or row.inner is None else row.inner.preload
    return all(module in sys.modules for module in needed) if needed else None


def kind_of(cached: float | None, imported: bool | None) -> LoadKind:
    """The kind of a load from files.

    Args:
        cached: part of the weights that was in the page cache; None = not known.
        imported: whether the process that loads had everything imported; None = nothing is to be.
    """
    known = [*([] if cached is None else [cached >= HOT_SHARE]), *([] if imported is None else [imported])]
    return LoadKind.WARM if known and all(known) else LoadKind.COLD


def experts_of(pool: Pool, engine_id: str) -> dict[str, Expert]:
    """Experts whose base weights an engine holds, by id."""
    now = pool.now
    return {e.id: e for e in (*now.departed, *now.experts) if e.engine.id == engine_id}


def adapters_of(pool: Pool, engine_id: str) -> list[str]:
    """LoRA directories used over an engine, in pool order."""
    adapters = (expert.adapter for expert in experts_of(pool, engine_id).values())
    return list(dict.fromkeys(adapter for adapter in adapters if adapter is not None))
