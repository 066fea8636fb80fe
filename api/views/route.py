"""Decisions of a dry run as they are shown."""

from api.schemas.route import RouteView
from api.views.decisions import decision_view
from orchestrator.domain.answers import Decision


def route_view(decision: Decision, *, model: str) -> RouteView:
    """A decision that was made and not carried out. Args: model: composition, as the request names it."""
    return RouteView(model=model, **dict(decision_view(decision)))
