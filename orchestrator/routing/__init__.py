"""Routers: which experts to recruit for a query. One per file; `ROUTERS` is the table of names.

A new router is one file with a `make(context, options)` and one row here.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from orchestrator.errors import UnknownNameError
from orchestrator.ports.composing import Router
from orchestrator.routing import (
    baselines,
    budget,
    category,
    centroid,
    cluster,
    knn,
    kshot,
    posterior,
    symbolic,
)
from orchestrator.routing.parts.context import RouterContext, RouterFactory
from orchestrator.routing.parts.draws import ReplayRandom
from orchestrator.routing.parts.eligibility import ScreenedRouter

__all__ = ["ROUTERS", "ReplayRandom", "RouterContext", "RouterFactory", "make_router"]

ROUTERS: dict[str, RouterFactory] = {
    "posterior": posterior.make,
    "symbolic": symbolic.make,
    "knn": knn.make,
    "cluster": cluster.make,
    "category": category.make,
    "centroid": centroid.make,
    "kshot": kshot.make,
    "budget": budget.make,
    "best_single": baselines.make_best_single,
    "self_consistency": baselines.make_self_consistency,
    "top_k": baselines.make_top_k,
    "static_top_3": baselines.make_static_top_3,
    "random": baselines.make_random,
    "all": baselines.make_all,
}


def make_router(name: str, context: RouterContext, options: Mapping[str, JsonValue] | None = None) -> Router:
    """Build the router of that name for a pool; it recruits nobody whose context a query exceeds.

    Raises:
        UnknownNameError: no such router.
        ConfigError: an option the router does not have, a value out of range, or a missing profile.
    """
    if name not in ROUTERS:
        raise UnknownNameError("router", name, ROUTERS, param="router")
    make = ROUTERS[name]
    return ScreenedRouter(context, lambda part: make(part, options or {}))
