"""`GET /v1/experts`: the pool and its competence cards."""

from fastapi import APIRouter

from api.deps import AppDep, CallerDep
from api.schemas.experts import CardView, ExpertList, ExpertView
from api.views.experts import card_view, expert_view
from orchestrator.errors import NotFoundError

router = APIRouter(prefix="/v1/experts", tags=["experts"])


@router.get("")
def list_experts(app: AppDep, caller: CallerDep) -> ExpertList:
    """The experts that the key may ask."""
    experts = list(app.experts.of(caller).values())  # once: the pool may change
    cards, states = app.experts.cards(), app.engines.states(among=[e.engine.id for e in experts])
    return ExpertList(
        data=[
            expert_view(e, cards.get(e.id), states[e.engine.id], app.experts.lineages.get(e.id))
            for e in experts
        ]
    )


@router.get("/{expert_id:path}/card")
def get_card(expert_id: str, app: AppDep, caller: CallerDep) -> CardView:
    expert = app.experts.expert(expert_id, caller)
    card = app.experts.cards().get(expert.id)
    if card is None:
        raise NotFoundError(
            f"expert '{expert.id}' has no competence card.", param="expert", remedy="Run `muster profile`."
        )
    return card_view(card, app.experts.drifts(), app.experts.lineages.get(expert.id))


@router.get("/{expert_id:path}")
def get_expert(expert_id: str, app: AppDep, caller: CallerDep) -> ExpertView:
    expert = app.experts.expert(expert_id, caller)
    state = app.engines.states(among=[expert.engine.id])[expert.engine.id]
    lineage = app.experts.lineages.get(expert.id)
    return expert_view(expert, app.experts.cards().get(expert.id), state, lineage)
