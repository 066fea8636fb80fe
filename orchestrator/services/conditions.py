"""Conditions of a pool's engines at the moment, as their devices report it."""

import logging
import threading
from collections.abc import Callable, Set

from orchestrator.batching import Rates
from orchestrator.domain.devices import LIVE_S, Conditions
from orchestrator.domain.engines import engine_states
from orchestrator.errors import StoreError
from orchestrator.ports.clock import Clock
from orchestrator.ports.jobs import WorkReader

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How old what is known may be: asked for at every routing step, answered from the database once a second."""


class EngineWatch:
    """Looks at the devices for whoever routes. For any number of threads.

    Args:
        engine_ids: of the pool, those that need a device; they may change.
        loop_of: a report's owner -> the loop that it belongs to.
        paused: experts that an admin has taken out of recruiting.
    """

    def __init__(
        self,
        work: WorkReader,
        *,
        engine_ids: Set[str],
        loop_of: Callable[[str], str],
        clock: Clock,
        paused: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._work = work
        self._engine_ids = engine_ids
        self._loop_of = loop_of
        self._clock = clock
        self._paused = paused
        self._lock = threading.Lock()
        self._known = Conditions()
        self._looked_at: float | None = None

    def __call__(self) -> Conditions:
        """Never fails: while the database is away, what was known last."""
        with self._lock:
            now = self._clock()
            if self._looked_at is None or now >= self._looked_at + LOOK_S:
                self._looked_at = now
                try:
                    self._known = self._look()
                except StoreError:
                    log.warning("the state of the engines could not be read", exc_info=True)
            return self._known

    def _look(self) -> Conditions:
        devices = self._work.devices(LIVE_S)
        held = {report.engine_id for report in devices if report.engine_id is not None}
        missing = self._engine_ids - held
        rates = Rates.over_devices(self._work.rates()).extended(self._engine_ids)
        states = engine_states(
            missing, devices=devices, faults=self._work.faults(LIVE_S), loop_of=self._loop_of
        )
        return Conditions(
            cold_s={engine_id: rates.load(engine_id) for engine_id in sorted(missing)},
            down=frozenset(engine_id for engine_id, state in states.items() if state.state == "down"),
            paused=self._paused(),
        )
