"""Stages of questions, told while their answers are waited for."""

import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from orchestrator.domain.answers import Answer
from orchestrator.domain.stages import CallProgress, StageNews
from orchestrator.errors import StoreError
from orchestrator.ports.clock import Clock
from orchestrator.ports.jobs import StageReader

QUIET_S = 3.0

Told = Generator[str | Answer, None, None]


class Stages:
    """Tells what happened to a question since the last look; its calls are read while nothing is said.

    Args:
        reader: of the calls on the books.
        quiet_s: for how long a question that is soon answered, or soon fails, has no news: a stream that has
            begun cannot end with a status.
    """

    def __init__(
        self, reader: StageReader, *, quiet_s: float = QUIET_S, clock: Clock = time.monotonic
    ) -> None:
        self._reader = reader
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
                    yield from news(known, now)
                    known = now
                yield part
        finally:
            parts.close()

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
