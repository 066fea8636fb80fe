"""Pages where a browser is given a key, and forgets it."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response

from api.dashboard.rendering import PageRoute, page, see_other
from api.deps import AppDep
from api.middleware.keys import KEY_COOKIE
from orchestrator.errors import InputError

router = APIRouter(route_class=PageRoute, include_in_schema=False, tags=["login"])


@router.get("/login")
def login_page(request: Request, wrong: Annotated[bool, Query()] = False) -> Response:
    """The form of a key."""
    problem = "This key is not known, is over, or was revoked." if wrong else ""
    return page(request, "login.html", problem=problem)


@router.post("/login")
def login(request: Request, app: AppDep, key: Annotated[str, Form(max_length=512)] = "") -> Response:
    """The browser keeps a key that is valid."""
    try:
        known = app.keys.identify(key.strip())
    except InputError:
        return see_other("/login?wrong=true")
    response = see_other("/")
    if known is not None:  # where nobody needs one, any text would do
        keep_key(request, response, key.strip())
    return response


@router.post("/logout")
def logout(request: Request) -> Response:
    """The browser forgets the key."""
    response = see_other("/login")
    response.delete_cookie(KEY_COOKIE, httponly=True, samesite="strict", secure=_is_secure(request))
    return response


def keep_key(request: Request, response: Response, secret: str) -> None:
    """Let the browser send a key to this host, whatever the port, and to no other; no script reads it."""
    response.set_cookie(
        KEY_COOKIE, secret, httponly=True, samesite="strict", secure=_is_secure(request), path="/"
    )


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
