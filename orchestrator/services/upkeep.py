"""Upkeep: a thread beside a server that works alone; in the stack the beat does the same."""

import logging
import threading

from orchestrator.errors import MusterError
from orchestrator.services.ended import EndedJobs

log = logging.getLogger(__name__)

EVERY_S = 60.0
JOIN_S = 10.0


class Upkeep:
    """Tidies every `every_s`, from `start` to `stop`."""

    def __init__(self, ended: EndedJobs, *, every_s: float = EVERY_S) -> None:
        self._ended = ended
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="muster-upkeep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the transaction under way; idempotent."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def round(self) -> None:
        """One turn, in the caller's thread; what keeps it from its end is logged, and tried again later."""
        try:
            self._ended.tidy()
        except MusterError as error:
            log.warning("upkeep: %s", error)
        except Exception:  # the process outlives whatever happens here
            log.exception("upkeep failed")

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            self.round()
