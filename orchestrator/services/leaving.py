"""Questions that are left: nobody waits for them any more, so they are cancelled."""

import logging
import threading
import time
from collections.abc import Callable

from orchestrator.errors import MusterError, NotFoundError, StoreUnavailableError

log = logging.getLogger(__name__)

PAUSE_S = 1.0
"""How often one whose database is away is tried again."""


class Leavings:
    """Cancels what is left: at once, or, where the database cannot be used, as soon as it can.

    Args:
        cancel: a job by its id.
    """

    def __init__(self, cancel: Callable[[str], None], *, pause_s: float = PAUSE_S) -> None:
        self._cancel = cancel
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._later: dict[str, None] = {}
        self._thread: threading.Thread | None = None

    def leave(self, job_id: str) -> None:
        """Cancel a job; one that has ended, or that is not there, stays as it is."""
        try:
            self._cancel(job_id)
        except NotFoundError:
            pass
        except StoreUnavailableError as error:
            log.warning("job %s is cancelled as soon as the database can be used: %s", job_id, error)
            with self._lock:
                self._later[job_id] = None
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="muster-leavings", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(self._pause_s)
            with self._lock:
                job_ids = list(self._later)
                if not job_ids:
                    self._thread = None
                    return
            for job_id in job_ids:
                if not self._is_gone(job_id):
                    break  # nor would the others be

    def _is_gone(self, job_id: str) -> bool:
        """Cancel a job, whatever comes of it; False = the database is still away."""
        try:
            self._cancel(job_id)
        except StoreUnavailableError:
            return False
        except MusterError as error:
            log.debug("job %s: %s", job_id, error)
        except Exception:
            log.exception("job %s is not cancelled", job_id)
        with self._lock:
            del self._later[job_id]
        return True
