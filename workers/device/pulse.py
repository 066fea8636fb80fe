"""The heart of a loop goes on beating while one of its ticks takes long."""

import logging
import threading
from collections.abc import Callable
from types import TracebackType

from orchestrator.errors import StoreUnavailableError

log = logging.getLogger(__name__)


class Pulse:
    """Calls `beat` again and again, in a thread of its own, for as long as the block runs.

    A tick may take as long as a chunk of steps does, the first with all its imports; leases last for less.

    Args:
        beat: see `DeviceLoop.beat`.
    """

    def __init__(self, beat: Callable[[], None], *, every_s: float) -> None:
        self._beat = beat
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="muster-pulse", daemon=True)
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self._beat()
            except StoreUnavailableError as error:
                log.warning("the database is away: %s", error)
            except Exception:  # without a pulse the loop only loses its leases
                log.exception("a heartbeat failed")
