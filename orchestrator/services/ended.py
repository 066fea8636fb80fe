"""Jobs that have ended: run again where they failed, deleted, and for how long they are kept."""

import math
import time
from collections.abc import Mapping

from orchestrator.ports.clock import Clock
from orchestrator.ports.dispatch import Dispatcher
from orchestrator.ports.jobs import EndedJobStore
from orchestrator.ports.keyed import KeyedRequests
from orchestrator.settings.schema import RetentionSettings

CHUNK = 1000
"""Queries whose rows are deleted in one transaction: a fraction of a second."""

JOBS_AT_ONCE = 100
TURN_S = 1.0
"""How long upkeep goes on before it lets others have their turn."""

KEYED_AT_ONCE = 1000
HOUR_S = 3600.0

QUESTION_KINDS = ("ask", "route", "shadow")


class EndedJobs:
    """Retry, deletion and upkeep of jobs that have ended.

    Args:
        keyed: requests whose replies are kept for a while, too; None = there are none.
    """

    def __init__(
        self,
        *,
        store: EndedJobStore,
        dispatcher: Dispatcher,
        retention: RetentionSettings,
        clock: Clock = time.monotonic,
        keyed: KeyedRequests | None = None,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._days = _days(retention)
        self._clock = clock
        self._keyed = keyed
        self._keyed_s = retention.idempotency_hours * HOUR_S

    def retry(self, job_id: str, *, failed_only: bool = True, deadline_s: float | None = None) -> int:
        """Run what failed in a job again; returns how many queries. What is answered stays.

        What a cancellation or a deadline ended goes on where it was. With nothing to run again the job stays
        as it is.

        Args:
            failed_only: False = also those whose answer had to do without somebody who was asked.
            deadline_s: seconds from now after which what is open ends as `batch_expired`; None = never.

        Raises:
            NotFoundError: no such job.
            JobRunningError: it has not ended.
        """
        n = self._store.retry(job_id, failed_only=failed_only, deadline_s=deadline_s)
        if n:
            self._dispatcher.notify()
        return n

    def delete(self, job_id: str) -> None:
        """Delete a job with all that was asked, answered and said in it. When this returns, nothing is left.

        Interrupted, it is finished by `tidy`; nobody finds the job meanwhile.

        Raises:
            NotFoundError: no such job.
            JobRunningError: it has not ended.
        """
        number = self._store.begin_deleting(job_id)
        while self._store.purge(number, limit=CHUNK):
            pass

    def tidy(self, *, for_s: float = TURN_S) -> int:
        """One turn of upkeep: begin to delete what was kept for long enough, and delete for about `for_s`
        seconds; returns how many jobs were begun.

        Raises:
            StoreUnavailableError: nothing is lost; try again later.
        """
        until = self._clock() + for_s
        self._drop_keyed(until)
        n = self._store.begin_deleting_old(self._days, limit=JOBS_AT_ONCE) if self._days else 0
        while self._store.purge(limit=CHUNK) and self._clock() < until:
            pass
        return n

    def vacuum(self) -> int:
        """All of the upkeep at once, and free space back to the file system; returns how many jobs were
        deleted because their time was over.

        Raises:
            StoreUnavailableError: others hold the database; try again later.
        """
        n = 0
        self._drop_keyed(math.inf)
        while begun := self._store.begin_deleting_old(self._days, limit=JOBS_AT_ONCE) if self._days else 0:
            n += begun
        while self._store.purge(limit=CHUNK):
            pass
        self._store.vacuum()
        return n

    def _drop_keyed(self, until: float) -> None:
        """Requests under keys that are over go, until this time by the clock."""
        if self._keyed is None:
            return
        while self._keyed.drop_old(self._keyed_s, limit=KEYED_AT_ONCE) and self._clock() < until:
            pass


def _days(retention: RetentionSettings) -> Mapping[str, float]:
    """Days by kind of job, of the kinds that are not kept for ever."""
    days = dict.fromkeys(QUESTION_KINDS, retention.question_days) | {"batch": retention.batch_days}
    return {kind: kept for kind, kept in days.items() if kept is not None}
