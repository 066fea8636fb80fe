"""The feed of jobs: one reader of the books for all who follow one, whatever their number."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import NamedTuple

from api.schemas.jobs import JobView
from api.views.events import PING, PING_S
from orchestrator.domain.assignments import JobState
from orchestrator.errors import StoreUnavailableError

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""How often the jobs that are followed are looked at."""
LOOKING_SHARE = 0.1
"""Of the time, at most, that looking may take: of very many jobs it is done less often."""

Look = Callable[[Collection[str]], Awaitable[Mapping[str, JobView]]]


class _Told(NamedTuple):
    """A state of a job, as an event; `is_last`: it has ended."""

    view: JobView
    text: str
    is_last: bool


class _Followed:
    """A job with its followers. `next` is set, and replaced, when there is something new."""

    def __init__(self, first: JobView) -> None:
        self.n_followers = 0
        self.news = _news(first)
        self.next = asyncio.Event()
        self.is_gone = False

    def tell(self, view: JobView | None) -> None:
        """None = the job is gone."""
        if view == self.news.view:
            return
        self.is_gone = view is None
        self.news = self.news if view is None else _news(view)
        told, self.next = self.next, asyncio.Event()
        told.set()


class JobFeed:
    """Events of jobs. Used from one event loop at a time.

    Args:
        look: the jobs that there are of these, in one look at the books.
    """

    def __init__(self, look: Look, *, look_s: float = LOOK_S, ping_s: float = PING_S) -> None:
        self._look = look
        self._look_s = look_s
        self._ping_s = ping_s
        self._followed: dict[str, _Followed] = {}
        self._reader: asyncio.Task[None] | None = None

    @property
    def n_followed(self) -> int:
        """Jobs that somebody follows."""
        return len(self._followed)

    async def events(self, first: JobView) -> AsyncIterator[str]:
        """Server-sent events: `progress` of what changed, pings in between, and `done` at the end of the job.

        A client that reconnects gets the present state, so events have no ids. The database may be away in
        the meantime; the stream goes on when it is back. A job that is deleted ends it without `done`.
        """
        yield _event("progress", first)
        if JobState(first.state).is_over:
            yield _event("done", first)
            return
        followed = self._follow(first)
        seen = first
        try:
            while not followed.is_gone:
                news, coming = followed.news, followed.next
                if news.view != seen:
                    seen = news.view
                    yield news.text
                    if news.is_last:
                        yield _event("done", seen)
                        return
                elif not await _is_set(coming, within_s=self._ping_s):
                    yield PING
        finally:
            self._leave(first.id, followed)

    def _follow(self, first: JobView) -> _Followed:
        if self._reader is None or self._reader.done() or _is_elsewhere(self._reader):
            self._followed.clear()
            self._reader = asyncio.create_task(self._read(), name="muster-feed")
        followed = self._followed.setdefault(first.id, _Followed(first))
        followed.n_followers += 1
        return followed

    def _leave(self, job_id: str, followed: _Followed) -> None:
        followed.n_followers -= 1
        if not followed.n_followers and self._followed.get(job_id) is followed:
            del self._followed[job_id]

    async def _read(self) -> None:
        """Look, as long as somebody follows a job."""
        pause_s = self._look_s
        while self._followed:
            await asyncio.sleep(pause_s)
            began = time.monotonic()
            looked_at = dict(self._followed)
            try:
                views = await self._look(looked_at.keys())
            except StoreUnavailableError as error:
                log.warning("events of %d jobs: %s", len(looked_at), error)
                continue
            except Exception:  # who follows is told later
                log.exception("a look at %d jobs failed", len(looked_at))
                continue
            for job_id, followed in looked_at.items():
                followed.tell(views.get(job_id))
            pause_s = max(self._look_s, (time.monotonic() - began) / LOOKING_SHARE)


async def _is_set(coming: asyncio.Event, *, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return await coming.wait()
    except TimeoutError:
        return False


def _is_elsewhere(task: asyncio.Task[None]) -> bool:
    return task.get_loop() is not asyncio.get_running_loop()


def _news(view: JobView) -> _Told:
    return _Told(view, _event("progress", view), JobState(view.state).is_over)


def _event(name: str, view: JobView) -> str:
    return f"event: {name}\ndata: {view.model_dump_json()}\n\n"
