"""Routers: which experts to recruit for a query. One per file; `ROUTERS` is the table of names.

A new router is one file with a `make(context, options)` and one row: here, or an entry point of the group
`muster.routers` in a package of its own.
"""

from collections.abc import Mapping
from typing import TypeGuard

from pydantic import JsonValue

from orchestrator.ports.composing import Router
from orchestrator.routing import (
    baselines,
    budget,
    category,
    centroid,
    cluster,
    graded,
    knn,
    kshot,
    posterior,
    symbolic,
)
from orchestrator.routing.parts.blamed import blamed
from orchestrator.routing.parts.context import RouterContext, RouterFactory
from orchestrator.routing.parts.draws import ReplayRandom
from orchestrator.routing.parts.eligibility import ScreenedRouter
from orchestrator.routing.parts.steady import SteadyRouter
from orchestrator.tables import Extension, NameTable

__all__ = ["GRADED_ROUTERS", "ROUTERS", "ReplayRandom", "RouterContext", "RouterFactory", "make_router"]


def _is_factory(row: object) -> TypeGuard[RouterFactory]:
    return callable(row)


_OURS: Mapping[str, RouterFactory] = {
    "posterior": posterior.make,
    "symbolic": symbolic.make,
    "knn": knn.make,
    "cluster": cluster.make,
    "category": category.make,
    "centroid": centroid.make,
    "kshot": kshot.make,
    "budget": budget.make,
    "graded": graded.make,
    "best_single": baselines.make_best_single,
    "self_consistency": baselines.make_self_consistency,
    "top_k": baselines.make_top_k,
    "static_top_3": baselines.make_static_top_3,
    "random": baselines.make_random,
    "all": baselines.make_all,
}

GRADED_ROUTERS = frozenset(
    {"graded", "knn", "cluster", "symbolic", "best_single", "top_k", "static_top_3", "random", "all"}
)
"""Routers that can go by grades, where these stand in the place of right and wrong answers; others count
outcomes in ways of their own."""

ROUTERS = NameTable(
    "router",
    _OURS,
    extension=Extension("muster.routers", _is_factory, "a factory (context, options) -> Router", blamed),
    param="router",
)


def make_router(name: str, context: RouterContext, options: Mapping[str, JsonValue] | None = None) -> Router:
    """Build the router of that name for a pool; it recruits nobody whom a query leaves out, and stays with
    a conversation's experts while these are about as good.

    Raises:
        UnknownNameError: no such router.
        ConfigError: an option the router does not have, a value out of range, a missing profile, or a row of
            a package that is refused (`NameTable.find`).
    """
    make = ROUTERS.find(name)
    screened = ScreenedRouter(context, lambda part: make(part, options or {}))
    return SteadyRouter(screened, within=context.within)
