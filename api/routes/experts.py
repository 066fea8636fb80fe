"""`GET /v1/experts`: the pool and its competence cards."""

from fastapi import APIRouter

from api.deps import AppDep
from api.schemas.experts import CardView, ExpertList, ExpertView
from api.views.experts import card_view, expert_view
from orchestrator.errors import NotFoundError

router = APIRouter(prefix="/v1/experts", tags=["experts"])


@router.get("")
def list_experts(app: AppDep) -> ExpertList:
    cards = app.experts.cards()
    return ExpertList(data=[expert_view(e, cards.get(e.id)) for e in app.experts.pool.experts])


@router.get("/{expert_id:path}/card")
def get_card(expert_id: str, app: AppDep) -> CardView:
    expert = app.experts.expert(expert_id)
    card = app.experts.cards().get(expert.id)
    if card is None:
        raise NotFoundError(
            f"expert '{expert.id}' has no competence card.", param="expert", remedy="Run `muster profile`."
        )
    return card_view(card, app.experts.drifts())


@router.get("/{expert_id:path}")
def get_expert(expert_id: str, app: AppDep) -> ExpertView:
    expert = app.experts.expert(expert_id)
    return expert_view(expert, app.experts.cards().get(expert.id))
