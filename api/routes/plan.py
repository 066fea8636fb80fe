"""`GET /v1/jobs/{id}/plan`: loads and seconds of a job, done and left, device by device."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import AppDep
from api.schemas.jobs import PlanView
from api.views.jobs import plan_view

router = APIRouter(tags=["jobs"])


@router.get("/v1/jobs/{job_id}/plan")
def get_plan(
    job_id: str,
    app: AppDep,
    exact: Annotated[bool, Query(description="The shortest schedule; takes up to 5 s.")] = False,
) -> PlanView:
    return plan_view(app.service.plan(job_id, exact=exact))
