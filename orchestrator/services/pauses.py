"""Pauses of experts: taken out of recruiting by an admin, and put back."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from orchestrator.domain.experts import Pool
from orchestrator.domain.pauses import ExpertPause, paused_engines
from orchestrator.errors import InputError, StoreError, UnknownNameError
from orchestrator.ports.clock import Clock
from orchestrator.ports.pauses import PauseReader, PauseStore

log = logging.getLogger(__name__)

LOOK_S = 1.0
MOST_REASON_CHARS = 500


class PauseDesk:
    """Pauses experts and puts them back; what routes hears of it within about a second.

    Args:
        pool: at the moment.
    """

    def __init__(self, store: PauseStore, *, pool: Callable[[], Pool]) -> None:
        self._store = store
        self._pool = pool

    def pause(self, expert_id: str, *, reason: str = "") -> ExpertPause:
        """Pause an expert: nobody recruits it. Its engine's waiting work waits, where no other expert is
        served by it.

        Raises:
            UnknownNameError: nobody of the pool.
            InputError: a reason that is too long.
        """
        self._check(expert_id)
        if len(reason) > MOST_REASON_CHARS:
            raise InputError(f"reason: longer than {MOST_REASON_CHARS} characters.", param="reason")
        self._store.pause(expert_id, reason=reason)
        return self.paused()[expert_id]

    def resume(self, expert_id: str) -> None:
        """Put an expert back; one that is not paused stays as it is.

        Raises:
            UnknownNameError: nobody of the pool, and not paused either.
        """
        if not self._store.resume(expert_id):
            self._check(expert_id)

    def paused(self) -> Mapping[str, ExpertPause]:
        """Pauses by expert."""
        return {pause.expert_id: pause for pause in self._store.pauses()}

    def _check(self, expert_id: str) -> None:
        known = self._pool().by_id
        if expert_id not in known:
            raise UnknownNameError("expert", expert_id, known, param="expert")


class PauseWatch:
    """Looks at the pauses for whoever routes and serves, once a second at most. For any number of threads."""

    def __init__(self, reader: PauseReader, *, pool: Callable[[], Pool], clock: Clock) -> None:
        self._reader = reader
        self._pool = pool
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Sequence[ExpertPause] = ()
        self._looked_at: float | None = None

    def experts(self) -> frozenset[str]:
        """Experts that are paused. Never fails: while the database is away, those that were."""
        return frozenset(pause.expert_id for pause in self._look())

    def engines(self) -> Mapping[str, float]:
        """Engines all of whose experts are paused, and for how many seconds, by the database's clock: a
        host's own may be off. Up to `LOOK_S` too few."""
        pauses = self._look()
        return paused_engines(self._pool(), pauses) if pauses else {}

    def _look(self) -> Sequence[ExpertPause]:
        with self._lock:
            now = self._clock()
            if self._looked_at is None or now >= self._looked_at + LOOK_S:
                self._looked_at = now
                try:
                    self._known = self._reader.pauses()
                except StoreError:
                    log.warning("the pauses of experts could not be read", exc_info=True)
            return self._known
