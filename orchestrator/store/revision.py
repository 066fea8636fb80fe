"""The schema's revision, looked at while a process runs: another one may have migrated the database."""

import logging
import threading
import time

from orchestrator.errors import SchemaChangedError, StoreUnavailableError
from orchestrator.ports.clock import Clock
from orchestrator.store.database import Database
from orchestrator.store.migrations import HEAD, current_revision

log = logging.getLogger(__name__)

LOOK_S = 5.0


class RevisionWatch:
    """Knows whether the database is of the revision that this program writes. For any number of threads.

    Args:
        every_s: it is looked at again when somebody asks after this time.
    """

    def __init__(self, database: Database, *, clock: Clock = time.monotonic, every_s: float = LOOK_S) -> None:
        self._database = database
        self._clock = clock
        self._every_s = every_s
        self._lock = threading.Lock()
        self._looked_at = clock()  # whoever opens a database brings it up to date
        self._found: str | None = HEAD

    def fits(self) -> bool:
        """True if work may be taken from the books. While the database is away, what was known last."""
        with self._lock:
            if self._clock() >= self._looked_at + self._every_s:
                self._looked_at = self._clock()
                self._look()
            return self._found == HEAD

    def require(self) -> None:
        """
        Raises:
            SchemaChangedError: the revision is another one.
        """
        if not self.fits():
            raise SchemaChangedError(_says(self._found), remedy=_REMEDY)

    def _look(self) -> None:
        known = self._found
        try:
            self._found = self._database.fetch(current_revision)
        except StoreUnavailableError:
            return
        if self._found == known:
            return
        if self._found == HEAD:
            log.warning("the database is of revision %s again: work is taken again", HEAD)
        else:
            log.error("%s It takes no work. %s", _says(self._found), _REMEDY)


_REMEDY = "Restart this process, with the version of Muster that migrated the database."


def _says(found: str | None) -> str:
    return f"the database is of revision {found or 'unknown'}, and this process of {HEAD}."
