"""Query parameters are checked as strictly as bodies: an unknown one is told, not ignored."""

from difflib import get_close_matches

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from orchestrator.errors import InputError


async def known_params(request: Request) -> None:
    """Refuse query parameters that a route does not have.

    Raises:
        InputError: the route has no such parameter.
    """
    route = request.scope["route"]
    assert isinstance(route, APIRoute), "a dependency of routes"
    known = _names(route.dependant)
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is None:
        return
    near = get_close_matches(unknown, known, n=1)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    valid = ", ".join(sorted(known)) or "(none)"
    raise InputError(f"unknown query parameter '{unknown}'.", param=unknown, remedy=f"{hint}Valid: {valid}.")


def _names(dependant: Dependant) -> set[str]:
    own = {field.alias for field in dependant.query_params}
    return own.union(*(_names(inner) for inner in dependant.dependencies))
