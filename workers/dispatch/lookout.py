"""The lookout: tells all who wait for jobs in this process when these have ended, by one look for all.

Who looks himself, at one job, is told at once that it may have ended, and costs no look here but the one for
all now and then.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

from orchestrator.domain.assignments import JobState
from orchestrator.errors import MusterError, StoppingError

log = logging.getLogger(__name__)

IDLE_S = 5.0
"""How long its thread stays with nobody waiting."""
BACKOFF_S = 0.5

StatesOf = Callable[[Collection[str]], Mapping[str, JobState]]


class Ending:
    """End of a job, as one waiter expects it.

    Attributes:
        is_over: the job has ended, or is gone.
        looks: whoever waits looks himself when the job moved.
        is_submitted: the job was put on the books: if it is not there, it is gone.
    """

    def __init__(self, job_id: str, wake: Callable[[], None], *, looks: bool) -> None:
        self.job_id = job_id
        self.is_over = False
        self.looks = looks
        self.is_submitted = not looks
        self._wake = wake

    def may_come(self) -> None:
        """The job moved; whoever waits sees for himself whether it ended."""
        self._wake()

    def come(self) -> None:
        """The job has ended, or is gone: say so, and wake whoever waits."""
        self.is_over = True
        self._wake()


class Lookout:
    """Looks at the books in a thread of its own, which lives while somebody waits.

    Attributes:
        is_dismissed: nobody is to wait any more.

    Args:
        states_of: one look at many jobs.
        pause_s: how often all that are waited for are looked at, whatever moves meanwhile; those that moved
            are looked at sooner.
    """

    def __init__(self, states_of: StatesOf, *, pause_s: Callable[[], float]) -> None:
        self._states_of = states_of
        self._pause_s = pause_s
        self._since = time.monotonic()
        self._changed = threading.Condition()
        self._waiting: dict[str, dict[Ending, None]] = {}
        self._moved: set[str] = set()
        self._thread: threading.Thread | None = None
        self.is_dismissed = False

    def dismiss(self) -> None:
        """Wake all who wait, and let nobody wait any more."""
        with self._changed:
            self.is_dismissed = True
            waiting = [ending for who in self._waiting.values() for ending in who]
        for ending in waiting:
            ending.may_come()

    def require_end(self, ending: Ending) -> None:
        """Raises StoppingError where who waits was dismissed before his job is known to have ended."""
        if self.is_dismissed and not ending.is_over:
            raise StoppingError("the server stops before this is answered.", remedy="Ask again soon.")

    @contextmanager
    def waiting(self, job_id: str, *, wake: Callable[[], None], looks: bool = False) -> Iterator[Ending]:
        """One more who waits.

        Args:
            wake: called, from any thread, when the job has ended; and when it moved, if `looks`.
            looks: whoever waits looks himself when the job moved, and waits since before it is submitted,
                which he says (`is_submitted`); else it is looked at for him, the first time at once.
        """
        ending = Ending(job_id, wake, looks=looks)
        with self._changed:
            is_first = not self._waiting
            if is_first:
                self._since = time.monotonic()
            self._waiting.setdefault(job_id, {})[ending] = None
            if not looks:
                self._moved.add(job_id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="muster-lookout", daemon=True)
                self._thread.start()
            if is_first or not looks:
                self._changed.notify_all()
        try:
            yield ending
        finally:
            with self._changed:
                self._drop(ending)

    def moved(self, job_ids: Collection[str]) -> None:
        """These jobs may have ended."""
        if not job_ids:
            return
        with self._changed:
            concerned = [ending for job_id in job_ids for ending in self._waiting.get(job_id, ())]
            unseen = {ending.job_id for ending in concerned if not ending.looks}
            if unseen:
                self._moved |= unseen
                self._changed.notify_all()
        for ending in concerned:
            if ending.looks:
                ending.may_come()

    def _run(self) -> None:
        while (job_ids := self._next()) is not None:
            try:
                states = self._states_of(job_ids) if job_ids else {}
            except Exception as error:  # who waits is not to be forgotten, whatever happens here
                log.warning(
                    "nobody who waits is told anything: %s",
                    error,
                    exc_info=not isinstance(error, MusterError),
                )
                time.sleep(BACKOFF_S)
                continue
            self._tell({name for name in job_ids if name not in states or states[name].is_over})

    def _next(self) -> set[str] | None:
        """Jobs to look at: those that moved, or all after a pause; None when nobody waits any more."""
        with self._changed:
            while not self._moved and (left_s := self._left_s()) > 0:
                self._changed.wait(left_s)
            moved, self._moved = self._moved, set()
            if self._left_s() > 0:
                return moved & self._waiting.keys()
            if not self._waiting:
                self._thread = None
                return None
            self._since = time.monotonic()
            return {
                job_id
                for job_id, who in self._waiting.items()
                if job_id in moved or any(each.is_submitted for each in who)
            }

    def _left_s(self) -> float:
        """Seconds until all are looked at or, where nobody waits, until the thread ends."""
        return self._since + (self._pause_s() if self._waiting else IDLE_S) - time.monotonic()

    def _tell(self, job_ids: set[str]) -> None:
        with self._changed:
            ended = [ending for job_id in job_ids for ending in self._waiting.pop(job_id, ())]
            self._rest()
        for ending in ended:
            ending.come()

    def _drop(self, ending: Ending) -> None:
        waiting = self._waiting.get(ending.job_id, {})
        waiting.pop(ending, None)
        if not waiting:
            self._waiting.pop(ending.job_id, None)
        self._rest()

    def _rest(self) -> None:
        """With nobody waiting, the time of the thread is counted from now."""
        if not self._waiting:
            self._since = time.monotonic()
