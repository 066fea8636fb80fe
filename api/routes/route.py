"""`POST /v1/route`: who would answer a question, and why. Nobody is asked."""

from fastapi import APIRouter

from api.deps import AppDep, CallerDep
from api.middleware.strict_json import StrictRoute
from api.schemas.route import RouteRequest, RouteView
from api.views.chat_history import chat_content
from api.views.route import route_view
from orchestrator.errors import InputError
from orchestrator.questions.fields import build_query

router = APIRouter(route_class=StrictRoute, tags=["route"])


@router.post("/v1/route")
def route(body: RouteRequest, app: AppDep, caller: CallerDep) -> RouteView:
    """Say who would be asked a question, and why. Nobody is asked."""
    query = build_query(
        "route", _content(body), options=body.options, answer_type=body.answer_type, infers=True
    )
    [decision] = app.asking.route([query], model=body.model, caller=caller)
    return route_view(decision, model=body.model)


def _content(body: RouteRequest) -> dict[str, object]:
    if body.messages is not None and body.question is None:
        return chat_content(body.messages)
    if body.question is not None and body.messages is None:
        return {"question": body.question}
    raise InputError("give either `question` or `messages`.", param="question")
