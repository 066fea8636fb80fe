"""`GET /v1/shadow`: how live answers compare with those of the composition that shadows them."""

from fastapi import APIRouter

from api.deps import AppDep
from api.schemas.shadow import ShadowView
from api.views.shadow import shadow_view

router = APIRouter(tags=["shadow"])


@router.get("/v1/shadow")
def get_shadow(app: AppDep) -> ShadowView:
    """The latest questions that were answered twice: agreement, cost and time, in pairs."""
    return shadow_view(app.shadows.report(), app.settings.muster.shadow)
