"""Health: alive (this process answers) and ready (a question would be answered)."""

from fastapi import APIRouter, Response

from api.deps import AppDep
from api.schemas.health import CheckView, ReadyView

router = APIRouter(tags=["health"])


@router.get("/health")
@router.get("/health/live")
async def live() -> dict[str, str]:
    """Runs on the event loop, so that busy worker threads cannot delay it."""
    return {"status": "ok"}


@router.get("/health/ready")
def ready(app: AppDep, response: Response) -> ReadyView:
    """503 with reasons and remedies when a question could not be answered; slowly is still 200."""
    checks = [CheckView(**diagnosis._asdict()) for diagnosis in app.checks.diagnose()]
    is_ready = all(check.ok or not check.required for check in checks)
    if not is_ready:
        response.status_code = 503
    return ReadyView(
        status="ready" if is_ready else "not_ready",
        degraded=not all(check.ok for check in checks),
        checks=checks,
    )
