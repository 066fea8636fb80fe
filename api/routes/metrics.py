"""`GET /metrics`: numbers for Prometheus, of this server's requests and of the whole stack's work."""

from fastapi import APIRouter, Response

from api.deps import AppDep, TalliesDep
from api.views.metrics import MEDIA_TYPE, exposition

router = APIRouter(tags=["health"])

_EXAMPLE = """# HELP muster_queue_depth Calls that wait for an engine.
# TYPE muster_queue_depth gauge
muster_queue_depth{model="qwen2.5-coder-1.5b"} 12.0
"""


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": _EXAMPLE}}}},
)
def metrics(app: AppDep, tallies: TalliesDep) -> Response:
    """Metrics in Prometheus' text format. Requests are counted by each server for itself; all else is the
    stack's: scrape one server for it, or take the largest."""
    return Response(exposition({**app.metrics.sums(), **tallies.sums()}), media_type=MEDIA_TYPE)
