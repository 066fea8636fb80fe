"""The beat: what time alone brings about. Any number of beats at once are harmless."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from orchestrator.errors import StoreUnavailableError
from orchestrator.ports.jobs import Outbox, WaitingReader
from workers.leases.sweeper import Sweeper
from workers.stack.bells import ADVANCE, WORK

log = logging.getLogger(__name__)

BELLS_AT_ONCE = 500


class Sender(Protocol):
    """Sends a bell now; whether the broker took it."""

    def send(self, bell: str) -> bool:
        """Send a bell, a key of `bells.ROUTES`; True if the broker took it."""


class Beat:
    """Sweeps, empties the outbox, and rings again for work that nobody seems to have heard of.

    Args:
        upkeep: one short turn of what has all the time in the world.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        waiting: WaitingReader,
        bells: Sender,
        every_s: float,
        sweeper: Sweeper,
        upkeep: Callable[[], object] = lambda: None,
    ) -> None:
        self._upkeep = upkeep
        self._outbox = outbox
        self._waiting = waiting
        self._bells = bells
        self._every_s = every_s
        self._sweeper = sweeper

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping`; whatever is away comes back or is logged, round after round."""
        while not stopping.is_set():
            self.round()
            stopping.wait(self._every_s)

    def round(self) -> None:
        """Each part by itself: one that fails does not keep the others from their turn."""
        parts: Mapping[str, Callable[[], None]] = {
            "sweep": self._sweep,
            "outbox": self._empty_outbox,
            "ring": self._ring_again,
            "upkeep": self._tidy,
        }
        for name, part in parts.items():
            try:
                part()
            except StoreUnavailableError as error:
                self._sweeper.was_away()
                log.warning("%s: the database is away: %s", name, error)
            except Exception:  # the beat outlives whatever happens here
                log.exception("%s failed", name)

    def _sweep(self) -> None:
        report = self._sweeper.sweep()
        if any(report):
            log.info("swept: %s", report)

    def _empty_outbox(self) -> None:
        """One bell does for many jobs: it says to look, not at what."""
        while owed := self._outbox.outbox(BELLS_AT_ONCE):
            if not self._bells.send(ADVANCE):
                return
            self._outbox.rung([bell.id for bell in owed])

    def _tidy(self) -> None:
        self._upkeep()

    def _ring_again(self) -> None:
        if self._waiting.ready(limit=1):
            self._bells.send(ADVANCE)
        if any(item.n_waiting for item in self._waiting.backlog(owner="beat")):
            self._bells.send(WORK)
