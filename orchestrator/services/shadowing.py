"""Shadowing: a share of what is asked is answered once more, by a composition that it is compared with.

What comes of it is never given to anybody who asked. It takes nothing from them either: shadow jobs run when
nothing else waits, as batches do, and are dropped first: where too many wait, or this process has no time.
"""

import logging
import queue
import threading

from orchestrator.domain.answers import as_typed
from orchestrator.domain.assignments import BATCH
from orchestrator.domain.names import SHADOW_PREFIX
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.domain.terms import Terms
from orchestrator.domain.values import seed_of
from orchestrator.errors import InputError, MusterError, NotFoundError
from orchestrator.ports.shadows import ShadowReader
from orchestrator.services.submitting import Submitter
from orchestrator.settings.schema import ShadowSettings

log = logging.getLogger(__name__)

KIND = "shadow"
WAITING_HERE = 256
"""Questions that this process remembers to shadow."""
JOIN_S = 10.0

CARRIED = ("max_tokens", "temperature", "top_p", "stop", "seed", "structured_output")
"""Terms that a shadow has from its question; whom to ask is its own composition's matter."""


class Shadowing:
    """Submits shadow jobs from a thread of its own, from `start` to `stop`."""

    def __init__(
        self,
        settings: ShadowSettings,
        *,
        submitter: Submitter,
        reader: ShadowReader,
    ) -> None:
        self._settings = settings
        self._submitter = submitter
        self._reader = reader
        self._waiting: queue.Queue[str | None] = queue.Queue(maxsize=WAITING_HERE)
        self._thread: threading.Thread | None = None

    @property
    def is_on(self) -> bool:
        """True if a share of the questions is to be shadowed, whether or not this has begun."""
        return self._settings.composition is not None and self._settings.share > 0

    def consider(self, job_id: str) -> None:
        """Shadow a question that was answered, if it is one of the share; returns at once and never fails."""
        if self._thread is None or not is_drawn(job_id, self._settings.share):
            return
        try:
            self._waiting.put_nowait(job_id)
        except queue.Full:
            log.info("no shadow of %s: %d wait already", job_id, WAITING_HERE)

    def start(self) -> None:
        """Begin, where a share of the questions is to be shadowed; once only."""
        if not self.is_on:
            return
        self._thread = threading.Thread(target=self._run, name="muster-shadows", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and forget what waits; idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        while True:
            try:
                self._waiting.put_nowait(None)
                break
            except queue.Full:
                self._waiting.get_nowait()
        thread.join(JOIN_S)

    def shadow(self, job_id: str) -> bool:
        """Submit the shadow of one question; False if there is to be none.

        Raises:
            StoreUnavailableError: nothing was submitted.
        """
        if self._reader.n_shadows(limit=self._settings.max_waiting) >= self._settings.max_waiting:
            log.info("no shadow of %s: %d run already", job_id, self._settings.max_waiting)
            return False
        try:
            job = self._reader.job(job_id).job
            record = self._reader.query_record(job_id, None)
        except (NotFoundError, InputError):
            return False  # it was deleted, or is asked several times
        composition = self._submitter.resolve(self._settings.composition or "")
        terms = job.under(record.query.terms)
        if terms.composition == composition or record.answer is None or record.answer.error_code is not None:
            return False
        made = self._submitter.job(_asked(self._settings, job_id, terms), kind=KIND, priority=BATCH)
        self._submitter.put(made, [_plain(as_typed(record.query, record.answer.decision))])
        return True

    def _run(self) -> None:
        while (job_id := self._waiting.get()) is not None:
            try:
                self.shadow(job_id)
            except MusterError as error:
                log.warning("no shadow of %s: %s", job_id, error)
            except Exception:  # the process outlives whatever happens here
                log.exception("no shadow of %s", job_id)


def is_drawn(job_id: str, share: float) -> bool:
    """True for `share` of all ids, and for the same ones in every process."""
    return seed_of(["shadow", job_id]) < share * 2**31


def _asked(settings: ShadowSettings, job_id: str, terms: Terms) -> AskOptions:
    said = {name: value for name, value in terms.said.items() if name in CARRIED}
    return AskOptions(model=settings.composition or "", job_id=SHADOW_PREFIX + job_id, **said)


def _plain(query: Query) -> Query:
    return query.replaced(terms=None)
