"""Health: alive (this process answers), ready (a question would be answered); and `/`: where things are."""

from fastapi import APIRouter, Response

from api.deps import AppDep
from api.schemas.health import ReadyView
from api.views.health import ready_view
from orchestrator.domain.engines import EngineState
from orchestrator.errors import StoreError

router = APIRouter(tags=["health"])

LINKS = {
    "chat": "/v1/chat/completions",
    "models": "/v1/models",
    "route": "/v1/route",
    "jobs": "/v1/jobs",
    "experts": "/v1/experts",
    "feedback": "/v1/feedback",
    "health": "/health/ready",
    "docs": "/docs",
    "openapi": "/openapi.json",
}


@router.get("/", include_in_schema=False)
async def root() -> dict[str, str | dict[str, str]]:
    return {"name": "muster", "links": LINKS}


@router.get("/health")
@router.get("/health/live")
async def live() -> dict[str, str]:
    """Runs on the event loop, so that busy worker threads cannot delay it."""
    return {"status": "ok"}


def _unwell(app: AppDep) -> list[EngineState]:
    try:
        return app.engines.unwell()
    except StoreError:  # the checks say so
        return []


@router.get("/health/ready")
def ready(app: AppDep, response: Response) -> ReadyView:
    """503 with reasons and remedies when a question could not be answered; slowly is still 200."""
    view = ready_view(app.checks.diagnose(), _unwell(app))
    if view.status == "not_ready":
        response.status_code = 503
    return view
