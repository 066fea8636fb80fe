"""`POST /v1/feedback`: whether an answer was right; the cards of those who took part learn from it."""

from typing import Annotated

from fastapi import APIRouter, Header

from api.deps import KEY_FORM, AppDep, CallerDep, checked_key
from api.middleware.strict_json import StrictRoute
from api.schemas.feedback import FeedbackRequest, FeedbackView
from api.views.feedback import feedback_view
from orchestrator.domain.keys import require_own

_KEY_DESCRIPTION = (
    f"{KEY_FORM}. An answer is judged once under each key; another judgement is refused with 409."
)

router = APIRouter(route_class=StrictRoute, tags=["feedback"])


@router.post("/v1/feedback")
def post_feedback(
    body: FeedbackRequest,
    app: AppDep,
    caller: CallerDep,
    idempotency_key: Annotated[str | None, Header(description=_KEY_DESCRIPTION)] = None,
) -> FeedbackView:
    """Judge an answer: `job` is the `muster.job_id` of a completion, or a job of `/v1/jobs` with `query`, the
    id of one of its lines.

    An answer is judged once per `Idempotency-Key` (without one: once). The same judgement again changes
    nothing; another one under the same key is refused with 409.
    """
    key = "" if idempotency_key is None else checked_key(idempotency_key)
    require_own(app.jobs.job(body.job).job.owner, caller, kind="job", name=body.job)
    return feedback_view(app.feedback.judge(body.job, body.query, score=body.verdict, key=key))
