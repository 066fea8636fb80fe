"""Stages of questions, told while their answers are waited for."""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.domain.answers import Answer, as_typed
from orchestrator.domain.assignments import CallRole
from orchestrator.domain.stages import CallProgress, Saying, StageNews
from orchestrator.errors import MusterError, StoreError
from orchestrator.ports.clock import Clock
from orchestrator.ports.jobs import QueryRecord, ResultReader, StageReader
from orchestrator.ports.skills import Grader

QUIET_S = 3.0
MOST_CHARS = 300
"""Of what an expert said, in news."""

log = logging.getLogger(__name__)


Sayings = Callable[[str], Mapping[str, Saying]]
"""Words of each expert of a job so far, by its id."""


def _nothing(_job_id: str) -> Mapping[str, Saying]:
    return {}


def sayings_in(results: ResultReader, grader: Grader) -> Sayings:
    """Words of the experts of a job with one question, as they stand on the books."""
    return lambda job_id: sayings_of(results.query_record(job_id, None), grader)


def sayings_of(record: QueryRecord, grader: Grader) -> dict[str, Saying]:
    """Words of each expert that has answered a question; of several answers of one, the last."""
    query = as_typed(record.query, record.decision)
    return {
        response.expert_id: Saying(response.text[:MOST_CHARS], grader.read(query, response))
        for response in record.responses
        if response.role is CallRole.EXPERT and not response.failed
    }


Told = Generator[str | Answer, None, None]


class Stages:
    """Tells what happened to a question since the last look; its calls are read while nothing is said.

    Args:
        reader: of the calls on the books.
        sayings: what each expert of a job has said so far, by its id; asked when one has finished.
        quiet_s: for how long a question that is soon answered, or soon fails, has no news: a stream that has
            begun cannot end with a status.
    """

    def __init__(
        self,
        reader: StageReader,
        *,
        sayings: Sayings = _nothing,
        quiet_s: float = QUIET_S,
        clock: Clock = time.monotonic,
    ) -> None:
        self._reader = reader
        self._sayings = sayings
        self._quiet_s = quiet_s
        self._clock = clock

    def among(
        self, parts: Told, job_id: str, *, at_once: bool = False
    ) -> Generator[str | Answer | StageNews, None, None]:
        """The parts of a stream, and news of its question where a part says nothing. A question that is
        answered before it is looked at has no news. Closing it closes the parts.

        Args:
            at_once: there are news from the beginning.
        """
        known: list[CallProgress] = []
        from_s = self._clock() + (0.0 if at_once else self._quiet_s)
        try:
            for part in parts:
                if (part == "" and self._clock() >= from_s) or (known and isinstance(part, Answer)):
                    now = self._look(job_id, known)
                    yield from self._with_sayings(list(news(known, now)), job_id)
                    known = now
                yield part
        finally:
            parts.close()

    def _with_sayings(self, told: list[StageNews], job_id: str) -> Iterator[StageNews]:
        """The news; of an expert that finished, with what it said."""
        is_over = any(one.event == "finished" and one.role == "expert" and not one.failed for one in told)
        said = self._said(job_id) if is_over else {}
        for one in told:
            own = said.get(one.experts[0]) if one.event == "finished" and not one.failed else None
            yield one if own is None else one.replaced(value=own.value, text=own.text)

    def _said(self, job_id: str) -> Mapping[str, Saying]:
        try:
            return self._sayings(job_id)
        except MusterError as error:  # the news are worth telling without it
            log.debug("nothing is told of what experts of %s said: %s", job_id, error)
            return {}

    def _look(self, job_id: str, known: list[CallProgress]) -> list[CallProgress]:
        """The calls as they are; as they were known where the books cannot be read, or the job is gone."""
        try:
            return list(self._reader.call_progress(job_id))
        except StoreError:
            return known


def news(before: Sequence[CallProgress], now: Sequence[CallProgress]) -> Iterator[StageNews]:
    """News of two looks, one after the other, in the order of the calls."""
    was = {call.number: call for call in before}
    new = [call for call in now if call.number not in was]
    recruited = tuple(call.expert_id for call in new if call.role == "expert")
    if recruited:
        yield StageNews(event="recruited", experts=recruited)
    for call in now:
        yield from _news_of(was.get(call.number), call)


def _news_of(was: CallProgress | None, call: CallProgress) -> Iterator[StageNews]:
    if was == call:
        return
    told: dict[str, Any] = {"experts": (call.expert_id,), "role": call.role}
    begun = was is not None and was.state != "waiting"
    if call.state == "waiting":
        if was is None or was.ahead != call.ahead:
            yield StageNews(event="waiting", ahead=call.ahead, **told)
        if call.loading and not (was is not None and was.loading):
            yield StageNews(event="loading", **told)
        return
    if not begun:
        yield StageNews(event="started", **told)
    if call.state in ("done", "failed") and not (was is not None and was.state == call.state):
        yield StageNews(event="finished", failed=call.state == "failed", **told)
