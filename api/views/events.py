"""Server-sent events of a job. A client that reconnects gets the present state, so ids are not needed."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from api.schemas.jobs import JobView
from orchestrator.errors import StoreUnavailableError

log = logging.getLogger(__name__)

LOOK_S = 0.5
PING_S = 15.0
PING = ": ping\n\n"
MEDIA_TYPE = "text/event-stream"
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


async def job_events(
    first: JobView, look: Callable[[], Awaitable[JobView]], *, look_s: float = LOOK_S, ping_s: float = PING_S
) -> AsyncIterator[str]:
    """`progress` events of what changed, pings in between, and `done` at the end of the job.

    The database may be away in the meantime; the stream goes on when it is back.
    """
    view = first
    yield event("progress", view)
    said_at = time.monotonic()
    while view.state == "running":
        await asyncio.sleep(look_s)
        try:
            seen = await look()
        except StoreUnavailableError as error:
            log.warning("events of job %s: %s", view.id, error)
            seen = view
        if seen != view:
            view = seen
            yield event("progress", view)
        elif time.monotonic() - said_at >= ping_s:
            yield PING
        else:
            continue
        said_at = time.monotonic()
    yield event("done", view)


def event(name: str, view: JobView) -> str:
    return f"event: {name}\ndata: {view.model_dump_json()}\n\n"
