"""The clerk: a thread that works on batches, in a server that works alone or in workers that take steps."""

import logging
import threading
import time

from orchestrator.errors import MusterError
from orchestrator.ports.clock import Clock
from orchestrator.services.batch_work import BatchWork
from orchestrator.services.files import FileDesk

log = logging.getLogger(__name__)

LOOK_S = 0.5
TIDY_S = 60.0
JOIN_S = 10.0


class Clerk:
    """Works on batches from `start` to `stop`, and deletes files whose time is over."""

    def __init__(self, work: BatchWork, files: FileDesk, *, clock: Clock = time.monotonic) -> None:
        self._work = work
        self._files = files
        self._clock = clock
        self._tidy_at = clock() + TIDY_S
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="muster-clerk", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the step under way, or leave it to be done again; idempotent."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            if not self.round():
                self._stopping.wait(LOOK_S)

    def round(self) -> bool:
        """One step; whether there was one."""
        try:
            if self._clock() > self._tidy_at:
                self._tidy_at = self._clock() + TIDY_S
                self._files.tidy()
            return self._work.run_one()
        except MusterError as error:
            log.warning("batches wait: %s", error)
        except Exception:  # the process outlives whatever happens here
            log.exception("work on batches failed")
        return False
