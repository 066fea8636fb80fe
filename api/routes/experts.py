"""`/v1/experts`: the pool and its competence cards; an admin pauses experts and puts them back."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Body, Depends

from api.deps import AppDep, CallerDep, PageDep, Requires
from api.middleware.strict_json import StrictRoute
from api.schemas.experts import CardView, ExpertView, HistoryView, PauseRequest
from api.schemas.pages import PageView
from api.views.experts import card_view, expert_views, history_view
from api.views.experts_grades import gaps_of
from api.views.pages import page_view
from orchestrator.domain.experts import Expert
from orchestrator.domain.keys import Scope
from orchestrator.domain.pages import page_of
from orchestrator.errors import NotFoundError

ADMIN = [Depends(Requires(Scope.ADMIN))]

router = APIRouter(prefix="/v1/experts", route_class=StrictRoute, tags=["experts"])


@router.get("")
def list_experts(app: AppDep, caller: CallerDep, page: PageDep) -> PageView[ExpertView]:
    """List the experts that the key may ask, in the order of the pool file (`desc`), or the reverse."""
    experts = list(app.experts.of(caller).values())  # once: the pool may change
    found = page_of(experts, page, lambda expert: expert.id)
    return page_view(_views(app, found.items), id_of=lambda view: view.id, has_more=found.has_more)


@router.get("/{expert_id:path}/card")
def get_card(expert_id: str, app: AppDep, caller: CallerDep) -> CardView:
    """Show what is known of an expert: how it did on the profile's questions, and by users' feedback."""
    expert = app.experts.expert(expert_id, caller)
    card = app.experts.cards().get(expert.id)
    if card is None:
        raise NotFoundError(
            f"expert '{expert.id}' has no competence card.", param="expert", remedy="Run `muster profile`."
        )
    gaps = gaps_of(app.experts.score_table(), of=expert.id) if card.graded is not None else {}
    lineage, dates = app.experts.lineages.get(expert.id), app.experts.stored_at()
    return card_view(card, app.experts.drifts(), lineage, gaps, dates)


@router.get("/{expert_id:path}/history")
def get_history(expert_id: str, app: AppDep, caller: CallerDep) -> HistoryView:
    """List how an expert did on each question set that it was profiled on, and when, the last one first.

    Accuracies on different questions are no trend.
    """
    expert = app.experts.expert(expert_id, caller)
    current = app.experts.measured().get(expert.id)
    return history_view(app.experts.history(expert.id), expert=expert, current=current)


@router.post("/{expert_id:path}/pause", dependencies=ADMIN)
def pause_expert(
    expert_id: str, app: AppDep, body: Annotated[PauseRequest | None, Body()] = None
) -> ExpertView:
    """Take an expert out of recruiting until it is resumed: in every process within seconds, over restarts.

    Work that waits for an engine of its own waits, for a question until others are asked instead; what is
    generated just now is not stopped.
    """
    app.pauses.pause(expert_id, reason=body.reason if body is not None else "")
    return _view(app, expert_id)


@router.post("/{expert_id:path}/resume", dependencies=ADMIN)
def resume_expert(expert_id: str, app: AppDep) -> ExpertView:
    """Put an expert back into recruiting. One that is not paused stays as it is."""
    app.pauses.resume(expert_id)
    return _view(app, expert_id)


@router.get("/{expert_id:path}")
def get_expert(expert_id: str, app: AppDep, caller: CallerDep) -> ExpertView:
    """Show one expert."""
    return _views(app, [app.experts.expert(expert_id, caller)])[0]


def _view(app: AppDep, expert_id: str) -> ExpertView:
    return _views(app, [app.experts.expert(expert_id)])[0]


def _views(app: AppDep, experts: Sequence[Expert]) -> list[ExpertView]:
    return expert_views(
        experts,
        cards=app.experts.cards(),
        states=app.engines.states(among=[expert.engine.id for expert in experts]),
        lineages=app.experts.lineages,
        paused=app.pauses.paused(),
    )
