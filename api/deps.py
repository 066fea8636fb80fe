"""Dependencies of handlers, through FastAPI's injection."""

import re
from typing import Annotated

from fastapi import Depends, Request

from api.errors import IdempotencyKeyError
from api.views.jobs_feed import JobFeed
from orchestrator.bootstrap.app import App

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def get_app(request: Request) -> App:
    app: App = request.app.state.muster
    return app


def get_feed(request: Request) -> JobFeed:
    """The feed of jobs that all event streams of this server read."""
    feed: JobFeed = request.app.state.feed
    return feed


def get_started(request: Request) -> int:
    """Time at which this server was made, in seconds since 1970."""
    started: int = request.app.state.started
    return started


def checked_key(key: str) -> str:
    """An Idempotency-Key.

    Raises:
        IdempotencyKeyError: it cannot be one.
    """
    if not _KEY.fullmatch(key):
        raise IdempotencyKeyError(
            "Idempotency-Key must be 1 to 255 visible ASCII characters.", param="Idempotency-Key"
        )
    return key


AppDep = Annotated[App, Depends(get_app)]
FeedDep = Annotated[JobFeed, Depends(get_feed)]
StartedDep = Annotated[int, Depends(get_started)]
