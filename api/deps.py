"""Dependencies of handlers, through FastAPI's injection."""

import re
from typing import Annotated, Literal

from fastapi import Depends, Query, Request

from api.errors import IdempotencyKeyError
from api.views.jobs_feed import JobFeed
from orchestrator.bootstrap.app import App
from orchestrator.domain.keys import ANYBODY, Caller, Scope, require_own
from orchestrator.domain.pages import PageRequest
from orchestrator.errors import MissingScopeError
from orchestrator.runtime.metrics import Tallies

KEY_FORM = "1 to 255 visible ASCII characters"
"""Of an Idempotency-Key."""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def app_of(request: Request) -> App:
    """The app that answers this server's requests."""
    app: App = request.app.state.muster
    return app


async def get_app(request: Request) -> App:
    """The same as a dependency; those that look nothing up are `async`, since others cost a thread each."""
    return app_of(request)


async def get_feed(request: Request) -> JobFeed:
    """The feed of jobs that all event streams of this server read."""
    feed: JobFeed = request.app.state.feed
    return feed


async def get_started(request: Request) -> int:
    """Time at which this server was made, in seconds since 1970."""
    started: int = request.app.state.started
    return started


def get_tallies(request: Request) -> Tallies:
    """Counts of this server's requests."""
    tallies: Tallies = request.app.state.tallies
    return tallies


def checked_key(key: str) -> str:
    """An Idempotency-Key.

    Raises:
        IdempotencyKeyError: it cannot be one.
    """
    if not _KEY.fullmatch(key):
        raise IdempotencyKeyError(f"Idempotency-Key must be {KEY_FORM}.", param="Idempotency-Key")
    return key


async def get_caller(request: Request) -> Caller:
    """The caller that a request acts for."""
    return _caller(request)


def own_job(job_id: str, request: Request) -> str:
    """Id, in the path, of a job of the caller's own; another's is as one that there is not.

    Raises:
        NotFoundError: no such job.
    """
    owner = app_of(request).jobs.job(job_id).job.owner
    require_own(owner, _caller(request), kind="job", name=job_id)
    return job_id


class Requires:
    """Requirement of a route: the caller has one of these scopes. None of them = whoever calls will do."""

    def __init__(self, *scopes: Scope) -> None:
        self.scopes = scopes

    async def __call__(self, request: Request) -> None:
        """
        Raises:
            MissingScopeError: the caller has none of them.
        """
        if not _caller(request).may(self.scopes):
            raise MissingScopeError(self.scopes)


def caller_of_request(request: Request) -> Caller:
    """The caller that a request acts for; nobody is known where a request was refused before that."""
    return getattr(request.state, "caller", ANYBODY)


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


AfterParam = Annotated[str | None, Query(max_length=512, description="`last_id` of the page before.")]
OrderParam = Annotated[Literal["asc", "desc"], Query(description="The oldest first, or the newest.")]


def page_request(
    limit: Annotated[int, Query(ge=1, le=100, description="Most items of the page.")] = 20,
    after: AfterParam = None,
    order: OrderParam = "desc",
) -> PageRequest:
    """The page of a list that is asked for."""
    return PageRequest(limit, after, order == "desc")


PageDep = Annotated[PageRequest, Depends(page_request)]
AppDep = Annotated[App, Depends(get_app)]
CallerDep = Annotated[Caller, Depends(get_caller)]
OwnJobDep = Annotated[str, Depends(own_job)]
FeedDep = Annotated[JobFeed, Depends(get_feed)]
TalliesDep = Annotated[Tallies, Depends(get_tallies)]
StartedDep = Annotated[int, Depends(get_started)]
