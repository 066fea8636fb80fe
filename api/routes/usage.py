"""`GET /v1/usage`: tokens, USD, seconds of devices and questions, by day, key, model or role."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import AppDep, CallerDep
from api.middleware.strict_json import StrictRoute
from api.schemas.usage import UsageView
from api.views.usage import usage_view
from orchestrator.services.usage import dimensions_of, span_of

router = APIRouter(route_class=StrictRoute, tags=["usage"])

_EXAMPLES = {"2026-11-27": {"value": "2026-11-27"}}


@router.get("/v1/usage")
def get_usage(
    app: AppDep,
    caller: CallerDep,
    first: Annotated[
        str | None,
        Query(
            alias="from", description="First day, UTC; by default the 30 to `to`.", openapi_examples=_EXAMPLES
        ),
    ] = None,
    last: Annotated[
        str | None,
        Query(alias="to", description="Last day, UTC; by default today.", openapi_examples=_EXAMPLES),
    ] = None,
    group_by: Annotated[
        str, Query(description="`day`, `key`, `model`, `role`, joined by commas.", examples=["key,model"])
    ] = "",
) -> UsageView:
    """Usage of a key's own jobs; an admin's, of everybody's. What failed counts with what it took."""
    span = span_of(first, last)
    return usage_view(app.usage.report(*span, group_by=dimensions_of(group_by), owner=caller.sees_of))
