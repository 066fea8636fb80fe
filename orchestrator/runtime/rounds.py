"""Rounds: work that a thread of its own does again and again, from `start` to `stop`."""

import logging
import threading
from collections.abc import Callable

from orchestrator.errors import MusterError

log = logging.getLogger(__name__)

JOIN_S = 10.0


class Rounds:
    """A thread that works every `every_s` seconds, and at once again where the work says that there is more.

    What keeps a round from its end is logged, and the next one is tried: the process outlives it.

    Args:
        name: of the thread.
        work: one round; True = there is more to do now.
        join_s: for how long `stop` waits for the round under way; a later one is none of its concern.
    """

    def __init__(
        self, name: str, work: Callable[[], bool | None], *, every_s: float, join_s: float = JOIN_S
    ) -> None:
        self._name = name
        self._work = work
        self._every_s = every_s
        self._join_s = join_s
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; idempotent."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End after the round under way, or leave it; idempotent."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(self._join_s)

    def round(self) -> bool:
        """One round, in the caller's thread; whether there is more to do."""
        try:
            return bool(self._work())
        except MusterError as error:
            log.warning("%s: %s", self._name, error)
        except Exception:  # whatever happens here
            log.exception("%s failed", self._name)
        return False

    def _run(self) -> None:
        is_more = False
        while not self._stopping.wait(0.0 if is_more else self._every_s):
            is_more = self.round()
