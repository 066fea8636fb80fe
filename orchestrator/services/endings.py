"""Endings: large jobs that were cancelled are ended beside whoever asked for it, who does not wait."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from orchestrator.errors import MusterError
from orchestrator.ports.jobs import EndingStore

log = logging.getLogger(__name__)


class Endings:
    """Ends one job after the other. What is left when this process stops, sweeps end."""

    def __init__(self, store: EndingStore) -> None:
        self._store = store
        self._stopping = threading.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="muster-endings")

    def begin(self, job_id: str) -> None:
        """End what is left of a job in the background."""
        self._thread.submit(self._guarded, job_id)

    def complete(self, job_id: str) -> None:
        """End what is left of a job, and return then."""
        while not self._stopping.is_set() and self._store.end_some(job_id):
            pass

    def stop(self) -> None:
        """End after the transaction under way; idempotent."""
        self._stopping.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _guarded(self, job_id: str) -> None:
        try:
            self.complete(job_id)
        except MusterError as error:
            log.warning("job %s: the next sweep ends the rest: %s", job_id, error)
        except Exception:  # the process outlives whatever happens here
            log.exception("job %s: the next sweep ends the rest", job_id)
