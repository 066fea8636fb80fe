"""Engines of a device that sleep: their weights are out of its memory, and a wake brings them back."""

import logging
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

from orchestrator.batching.staying import Resident, leaving_order, sleep_level
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import BackendError
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import Engine, Sleeping, Weighed
from workers.device.measured import Measurements
from workers.device.seat import Seat
from workers.engine_host.memory import RESERVE_GIB, TOLERANCE_GIB, available_gib

log = logging.getLogger(__name__)

KEPT_SHARE = 0.25
"""Part of its memory that an engine may keep asleep, beside `TOLERANCE_GIB`: a context, graphs. One that
keeps more is closed, for nothing is won."""


class _Asleep(NamedTuple):
    engine: Engine
    level: int
    gib: float
    since: float


class Sleepers:
    """Puts engines to sleep and wakes them; its calls take as long as that takes, in one thread at a time.

    Args:
        measured: what their loads and wakes take, for who is closed first when the host's memory is short.
        host_free_gib: what the system can still give; None = not known: nobody sleeps.
    """

    def __init__(
        self,
        measured: Measurements,
        *,
        clock: Clock,
        host_free_gib: Callable[[], float | None] = available_gib,
    ) -> None:
        self._measured = measured
        self._clock = clock
        self._host_free_gib = host_free_gib
        self._asleep: dict[str, _Asleep] = {}
        self._lock = Lock()

    @property
    def engine_ids(self) -> frozenset[str]:
        """Engines that sleep; for any thread."""
        with self._lock:
            return frozenset(self._asleep)

    def take(self, seat: Seat) -> None:
        """Put an engine to sleep whose requests have ended, or close it where that cannot be."""
        if not self._sleeps(seat.engine_id, seat.engine):
            seat.close()

    def wake(self, spec: EngineSpec) -> Engine | None:
        """An engine that slept, awake; None = it did not sleep here, or does not wake: then it is closed."""
        with self._lock:
            asleep = self._asleep.pop(spec.id, None)
        if asleep is None or not isinstance(asleep.engine, Sleeping):
            return None
        try:
            asleep.engine.wake()
        except Exception as error:  # whatever a library raises: it is loaded anew
            log.warning("engine %s: does not wake, and is loaded anew: %s", spec.id, error)
            _close(spec.id, asleep.engine)
            return None
        return asleep.engine

    def make_room(self, needed_gib: float | None) -> None:
        """Close those that are worth least until the host can give so much; None = not known: nobody."""
        while needed_gib is not None and self._asleep:
            free_gib = self._host_free_gib()
            if free_gib is None or free_gib >= needed_gib + RESERVE_GIB:
                return
            self._close_least()

    def close(self) -> None:
        """Close all. Idempotent."""
        with self._lock:
            asleep, self._asleep = self._asleep, {}
        for engine_id, one in asleep.items():
            _close(engine_id, one.engine)

    def _sleeps(self, engine_id: str, engine: Engine) -> bool:
        if not isinstance(engine, Sleeping) or not engine.sleep_levels:
            return False
        held_gib = _held_gib(engine)
        if held_gib is None:
            held_gib = self._measured.memory_gib(engine_id) or 0.0
        if 1 in engine.sleep_levels:
            self.make_room(held_gib)
        level = sleep_level(engine.sleep_levels, gib=held_gib, host_free_gib=self._host_free_gib())
        if level is None:
            return False
        try:
            engine.sleep(level)
        except Exception as error:  # whatever a library raises: it is closed
            reason = log.info if isinstance(error, BackendError) else log.warning
            reason("engine %s: does not sleep, and is closed: %s", engine_id, error)
            return False
        kept_gib = _held_gib(engine)
        if kept_gib is not None and kept_gib > KEPT_SHARE * held_gib + TOLERANCE_GIB:
            log.warning("engine %s: keeps %.1f of %.1f GiB asleep: closed", engine_id, kept_gib, held_gib)
            return False
        with self._lock:
            self._asleep[engine_id] = _Asleep(engine, level, held_gib, self._clock())
        return True

    def _close_least(self) -> None:
        """Of those that hold memory of the host, the one whose wake saves least per GiB."""
        with self._lock:
            asleep = dict(self._asleep)
        in_host = {engine_id: one for engine_id, one in asleep.items() if one.level == 1} or asleep
        rates, now = self._measured.rates, self._clock()
        order = leaving_order(
            [Resident(e, one.gib, rates.load(e), idle_s=now - one.since) for e, one in in_host.items()]
        )
        with self._lock:
            gone = self._asleep.pop(order[0].engine_id)
        _close(order[0].engine_id, gone.engine)


def _held_gib(engine: Engine) -> float | None:
    memory = engine.weigh() if isinstance(engine, Weighed) else None
    return None if memory is None else memory.held_gib


def _close(engine_id: str, engine: Engine) -> None:
    try:
        engine.close()
    except Exception:  # its memory must become free whatever its state
        log.warning("engine %s: close failed", engine_id, exc_info=True)
