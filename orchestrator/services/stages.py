"""Stages of questions, told while their answers are waited for."""

import logging
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.domain.answers import Answer, as_typed
from orchestrator.domain.assignments import CallRole
from orchestrator.domain.stages import CallPlace, CallProgress, Saying, StageNews
from orchestrator.errors import MusterError, StoreError
from orchestrator.ports.clock import Clock
from orchestrator.ports.dispatch import Excerpt
from orchestrator.ports.jobs import QueryRecord, ResultReader, StageReader
from orchestrator.ports.skills import Grader

QUIET_S = 3.0
LOOK_S = 1.0
"""How often the books are looked at, at least, while calls tell what they write."""
MOST_CHARS = 300
"""Of what an expert said, in news."""
HEARD = (CallRole.EXPERT, CallRole.SAMPLE, CallRole.DISCUSS)
"""Roles of calls in which an expert says what it takes for the answer."""

log = logging.getLogger(__name__)


Sayings = Callable[[str], Mapping[CallPlace, Saying]]
"""Words of each call of a job so far in which an expert answers."""


def _nothing(_job_id: str) -> Mapping[CallPlace, Saying]:
    return {}


def sayings_in(results: ResultReader, grader: Grader) -> Sayings:
    """Words of the experts of a job with one question, as they stand on the books."""
    return lambda job_id: sayings_of(results.query_record(job_id, None), grader)


def sayings_of(record: QueryRecord, grader: Grader) -> dict[CallPlace, Saying]:
    """Words of each call in which an expert has answered a question."""
    query = as_typed(record.query, record.decision)
    return {
        CallPlace(response.expert_id, response.role, response.stage, response.sample_ix): Saying(
            response.text[:MOST_CHARS], grader.read(query, response)
        )
        for response in record.responses
        if response.role in HEARD and not response.failed
    }


Parts = Generator[str | Answer, None, None]


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
        self, parts: Parts, job_id: str, *, at_once: bool = False, excerpts: list[Excerpt] | None = None
    ) -> Generator[str | Answer | StageNews, None, None]:
        """The parts of a stream, and news of its question where a part says nothing. A question that is
        answered before it is looked at has no news. Closing it closes the parts.

        Args:
            at_once: there are news from the beginning.
            excerpts: filled, while the parts are asked for, with what calls have written; emptied here.
        """
        known: list[CallProgress] = []
        looked_at = -math.inf
        from_s = self._clock() + (0.0 if at_once else self._quiet_s)
        try:
            for part in parts:
                written = _latest(excerpts)
                has_news = (part == "" or written) and self._clock() >= from_s
                if has_news or (known and isinstance(part, Answer)):
                    is_new = not written.keys() <= {call.number for call in known}
                    is_last = isinstance(part, Answer)
                    if not written or is_new or is_last or self._clock() - looked_at >= LOOK_S:
                        now = self._look(job_id, known)
                        yield from self._with_sayings(list(news(known, now)), now, job_id)
                        known, looked_at = now, self._clock()
                    yield from _writing(known, written)
                yield part
        finally:
            parts.close()

    def _with_sayings(
        self, told: list[StageNews], now: Sequence[CallProgress], job_id: str
    ) -> Iterator[StageNews]:
        """The news; of an expert that finished, with what it said."""
        is_over = any(one.event == "finished" and one.role in HEARD and not one.failed for one in told)
        said = self._said(job_id) if is_over else {}
        for one in told:
            is_good = one.event == "finished" and not one.failed and one.call is not None
            own = said.get(now[one.call - 1].place) if is_good and one.call is not None else None
            yield one if own is None else one.replaced(value=own.value, text=own.text)

    def _said(self, job_id: str) -> Mapping[CallPlace, Saying]:
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
    for place, call in enumerate(now, start=1):
        yield from _news_of(was.get(call.number), call, place)


def _news_of(was: CallProgress | None, call: CallProgress, place: int) -> Iterator[StageNews]:
    if was == call:
        return
    told: dict[str, Any] = {"experts": (call.expert_id,), "role": call.role, "call": place}
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


def _latest(excerpts: list[Excerpt] | None) -> dict[int, Excerpt]:
    """The last excerpt of each call; they are taken out of the list."""
    if not excerpts:
        return {}
    found = {excerpt.call: excerpt for excerpt in excerpts}
    excerpts.clear()
    return found


def _writing(calls: Sequence[CallProgress], written: Mapping[int, Excerpt]) -> Iterator[StageNews]:
    """News of calls that are not known to have ended."""
    for place, call in enumerate(calls, start=1):
        excerpt = written.get(call.number)
        if excerpt is not None and call.state in ("waiting", "running"):
            told: dict[str, Any] = {"experts": (call.expert_id,), "role": call.role, "call": place}
            yield StageNews(event="writing", n_chars=excerpt.n_chars, text=excerpt.text, **told)
