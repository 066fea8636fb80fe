"""Health: alive (this process answers), ready (a question would be answered); and `/v1`: where things are."""

from fastapi import APIRouter, Response

from api.deps import AppDep
from api.schemas.health import ReadyView
from api.views.health import ready_view
from orchestrator import __version__

router = APIRouter(tags=["health"])

LINKS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
    "models": "/v1/models",
    "route": "/v1/route",
    "jobs": "/v1/jobs",
    "files": "/v1/files",
    "batches": "/v1/batches",
    "experts": "/v1/experts",
    "feedback": "/v1/feedback",
    "keys": "/v1/keys",
    "health": "/health/ready",
    "metrics": "/metrics",
    "usage": "/v1/usage",
    "profiles": "/v1/profiles",
    "system": "/v1/system",
    "docs": "/docs",
    "openapi": "/openapi.json",
}


@router.get("/v1", include_in_schema=False)
async def root() -> dict[str, str | dict[str, str]]:
    """The service's name and version, and where things are."""
    return {"name": "muster", "version": __version__, "links": LINKS}


@router.get("/health")
@router.get("/health/live")
async def live() -> dict[str, str]:
    """Say that the server is alive. Nothing is asked of the database, and busy threads cannot delay it."""
    return {"status": "ok"}


@router.get("/version")
async def version() -> dict[str, str]:
    """The version of the server."""
    return {"version": __version__}


@router.get("/health/ready", responses={503: {"model": ReadyView}})
def ready(app: AppDep, response: Response) -> ReadyView:
    """503 with reasons and remedies when a question could not be answered; slowly is still 200."""
    health = app.checks.health()
    view = ready_view(health.checks, health.engines)
    if view.status == "not_ready":
        response.status_code = 503
    return view
