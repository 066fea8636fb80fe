"""The schema's revision, looked at while a process runs: another one may have migrated the database."""

import logging
import threading
import time

from orchestrator.domain.devices import DeviceReport
from orchestrator.errors import SchemaChangedError, StoreUnavailableError
from orchestrator.ports.clock import Clock
from orchestrator.store.database import Database
from orchestrator.store.migrations import HEAD, current_revision

log = logging.getLogger(__name__)

LOOK_S = 5.0

REMEDY = "Restart this process, with the version of Muster that migrated the database."


class RevisionWatch:
    """Knows whether the database is of the revision that this program writes. For any number of threads.

    Args:
        every_s: it is looked at again when somebody asks after this time.
        head: what this program writes.
    """

    def __init__(
        self, database: Database, *, clock: Clock = time.monotonic, every_s: float = LOOK_S, head: str = HEAD
    ) -> None:
        self._database = database
        self._clock = clock
        self._every_s = every_s
        self._lock = threading.Lock()
        self._looked_at = clock()  # whoever opens a database brings it up to date
        self._head = head
        self._found: str | None = head

    def fits(self) -> bool:
        """True if work may be taken from the books. While the database is away, what was known last."""
        if self._clock() >= self._looked_at + self._every_s and self._lock.acquire(blocking=False):
            try:  # one looks, and nobody waits for it
                self._looked_at = self._clock()
                self._look()
            finally:
                self._lock.release()
        return self._found == self._head

    def require(self) -> None:
        """Refuse to go on where the database is of another revision than this program.

        Raises:
            SchemaChangedError: the revision is another one.
        """
        if not self.fits():
            raise SchemaChangedError(self._says, remedy=REMEDY)

    def marked(self, report: DeviceReport) -> DeviceReport:
        """A device's report, which says so where its process takes no work."""
        if self.fits():
            return report
        says = {"code": SchemaChangedError.code, "why": self._says, "heal": REMEDY}
        return report.model_copy(update=says)

    @property
    def _says(self) -> str:
        return f"the database is of revision {self._found or 'unknown'}, and this process of {self._head}."

    def _look(self) -> None:
        known = self._found
        try:
            self._found = self._database.fetch(current_revision)
        except StoreUnavailableError:
            return
        if self._found == known:
            return
        if self._found == self._head:
            log.warning("the database is of revision %s again: work is taken again", self._head)
        else:
            log.error("%s It takes no work. %s", self._says, REMEDY)
