"""The REST server: routes, limits and errors around an `App`."""

import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any, NamedTuple

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, params
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware

from api import submission
from api.dashboard import asking, login, static
from api.dashboard import experts as expert_pages
from api.dashboard import jobs as job_pages
from api.dashboard import system as system_pages
from api.dashboard.rendering import install_page_errors
from api.deps import Requires
from api.document import Documented
from api.errors import install_error_handlers
from api.idempotency import Underway
from api.middleware.bodies import BodyLimit
from api.middleware.in_flight import InFlightLimit, Line
from api.middleware.keys import ApiKeys
from api.middleware.metering import RequestMeter, template_of
from api.middleware.origins import AllowedHosts, AllowedOrigins
from api.middleware.query_params import known_params
from api.middleware.rates import KeyRates
from api.middleware.request_ids import RequestIds
from api.middleware.spellings import HeadAsGet, TrailingSlash
from api.middleware.tracing import RequestSpans
from api.routes import (
    batches,
    chat,
    completions,
    embeddings,
    experts,
    feedback,
    files,
    health,
    jobs,
    keys,
    merges,
    metrics,
    models,
    profiles,
    responses,
    route,
    shadow,
    system,
    usage,
)
from api.schemas.base import ErrorView
from api.schemas.jobs import JobView
from api.views.jobs import job_view
from api.views.jobs_feed import JobFeed
from api.views.jobs_lines import LINE_FORMS
from orchestrator import __version__
from orchestrator.bootstrap.app import App
from orchestrator.domain.keys import Scope
from orchestrator.domain.metrics import LabelSets
from orchestrator.domain.names import PUBLIC_PREFIX
from orchestrator.runtime.metrics import Tallies

SPARE_THREADS = 8
UPLOADS = (submission.PATH, files.PATH, job_pages.PATH)
"""Paths that take large bodies."""
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorView, "description": "What is wrong with the request"},
    "5XX": {"model": ErrorView, "description": "What failed, and whether a repeat helps"},
}


class Mount(NamedTuple):
    """Routes of one module, and what each of their requests is checked by.

    Attributes:
        scopes: a key needs one of them; none = any key will do. Whose the thing of a path is, a route asks
            for itself: `OwnJobDep`, or `require_own`.
    """

    router: APIRouter
    scopes: Sequence[Scope] = ()
    dependencies: Sequence[params.Depends] = (Depends(known_params),)

    @property
    def checks(self) -> list[params.Depends]:
        """Dependencies of each of its routes, the check of the key first."""
        return [Depends(Requires(*self.scopes)), *self.dependencies]


MOUNTS = (
    Mount(health.router, dependencies=()),  # whoever probes may add what defeats its caches
    Mount(metrics.router, (Scope.ADMIN,), dependencies=()),
    Mount(chat.router, (Scope.ASK,), dependencies=()),  # clients of OpenAI's API add what other servers know
    Mount(completions.router, (Scope.ASK,), dependencies=()),
    Mount(responses.router, (Scope.ASK,), dependencies=()),
    Mount(embeddings.router, (Scope.ASK,), dependencies=()),
    Mount(route.router, (Scope.ASK,)),
    Mount(models.router, dependencies=()),
    Mount(experts.router),
    Mount(feedback.router, (Scope.ASK, Scope.BATCH)),
    Mount(jobs.router, (Scope.ASK, Scope.BATCH)),
    Mount(files.router, (Scope.BATCH,), dependencies=()),
    Mount(batches.router, (Scope.BATCH,), dependencies=()),
    Mount(usage.router, (Scope.ASK, Scope.BATCH)),
    Mount(merges.router, (Scope.ADMIN,)),
    Mount(profiles.router, (Scope.ADMIN,)),
    Mount(keys.router, (Scope.ADMIN,)),
    Mount(shadow.router, (Scope.ADMIN,)),
    Mount(system.router, (Scope.ADMIN,)),
    Mount(asking.router, (Scope.ASK, Scope.BATCH), dependencies=()),
    Mount(expert_pages.router, (Scope.ASK, Scope.BATCH), dependencies=()),
    Mount(job_pages.router, (Scope.ASK, Scope.BATCH), dependencies=()),
    Mount(system_pages.router, (Scope.ASK, Scope.BATCH), dependencies=()),
    Mount(login.router, dependencies=()),
    Mount(static.router, dependencies=()),
)


def create_app(app: App) -> FastAPI:
    """The ASGI application over a wired `App`, whose lifetime is the caller's."""
    server = app.settings.muster.server

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Handlers wait in threads for their answers; look-ups must still find a free one.
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 2 * server.max_in_flight + SPARE_THREADS
        if app.settings.is_stack:  # the workers do it
            yield
            return
        clerk = app.clerk(LINE_FORMS)
        clerk.start()
        try:
            yield
        finally:
            await run_in_threadpool(clerk.stop)

    web = Documented(title="Muster", version=__version__, lifespan=lifespan, redirect_slashes=False)
    web.state.muster = app
    web.state.feed = JobFeed(partial(_views, app))
    web.state.underway = Underway(server.max_in_flight)
    web.state.started = int(time.time())
    web.state.tallies = tallies = Tallies(_label_sets(app))
    for mount in MOUNTS:
        web.include_router(mount.router, dependencies=mount.checks, responses=ERRORS)
    install_error_handlers(web)
    install_page_errors(web)
    # The middleware added last sees a request first.
    web.add_middleware(HeadAsGet)
    web.add_middleware(
        InFlightLimit,
        max_in_flight=server.max_in_flight,
        max_streams=server.max_streams,
        max_uploads=server.max_uploads,
        uploads=UPLOADS,
        timeout_s=server.body_timeout_s,
        line=Line(server.max_queued, server.max_wait_s),
    )
    web.add_middleware(
        BodyLimit,
        max_bytes=server.max_body_bytes,
        timeout_s=server.body_timeout_s,
        larger={
            submission.PATH: server.max_upload_bytes,
            files.PATH: server.max_upload_bytes + files.ROOM_BYTES,
            job_pages.PATH: server.max_upload_bytes + files.ROOM_BYTES,
        },
    )
    web.add_middleware(KeyRates, rates=app.rates)
    web.add_middleware(ApiKeys, keys=app.keys)
    web.add_middleware(AllowedOrigins, origins=server.allowed_origins)
    if server.allowed_origins:
        web.add_middleware(
            CORSMiddleware,
            allow_origins=server.allowed_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    web.add_middleware(AllowedHosts, names=server.allowed_hosts)
    web.add_middleware(RequestIds)
    web.add_middleware(TrailingSlash)
    web.add_middleware(RequestSpans, tracer=app.tracer, is_endpoint=_endpoints().__contains__)
    web.add_middleware(RequestMeter, meter=tallies)
    return web


@cache
def _endpoints() -> frozenset[str]:
    """Templates of all routes."""
    routes = (route for mount in MOUNTS for route in mount.router.routes)
    return frozenset(template_of(route.path) for route in routes if isinstance(route, APIRoute))


def _label_sets(app: App) -> LabelSets:
    """Sets of what may be said of requests: routes, and names that a `model` may be."""
    return LabelSets(
        is_endpoint=_endpoints().__contains__,
        is_model=lambda name: (
            name in app.experts.pool.by_id or name.removeprefix(PUBLIC_PREFIX) in app.asking.compositions
        ),
    )


async def _views(app: App, job_ids: Collection[str]) -> Mapping[str, JobView]:
    found = await run_in_threadpool(app.following.progress_of, list(job_ids))
    return {job_id: job_view(progress) for job_id, progress in found.items()}
