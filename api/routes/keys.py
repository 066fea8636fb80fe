"""`/v1/keys`: keys of the API, made, listed and revoked by who has the scope `admin`."""

import time

from fastapi import APIRouter

from api.deps import AppDep, PageDep
from api.middleware.strict_json import StrictRoute
from api.schemas.keys import KeyRequest, KeyView, NewKeyView
from api.schemas.pages import PageView
from api.views.keys import key_page, key_terms, key_view, new_key_view
from orchestrator.domain.keys import Scope
from orchestrator.errors import InputError

PATH = "/v1/keys"

router = APIRouter(route_class=StrictRoute, tags=["keys"])


@router.post(PATH, status_code=201)
def create_key(body: KeyRequest, app: AppDep) -> NewKeyView:
    """Make a key. Its `secret` is shown this once: nobody can read it again.

    From the first key on every call needs one, but for `/` and `/health`: the first must be an admin's, who
    can make others.
    """
    if not app.keys.are_needed() and Scope.ADMIN.value not in body.scopes:
        raise InputError(
            "the first key needs the scope 'admin': without one nobody could make another.",
            param="scopes",
            remedy="Make an admin's key first, then this one with it.",
        )
    return new_key_view(*app.keys.create(key_terms(body)))


@router.get(PATH)
def list_keys(app: AppDep, page: PageDep) -> PageView[KeyView]:
    """Keys, revoked and expired ones included, with what is used of each one's budget."""
    return key_page(app.keys, page)


@router.delete(PATH + "/{key_id}")
def revoke_key(key_id: str, app: AppDep) -> KeyView:
    """End a key for good; it stays in the list. What was asked with it stays its own."""
    return key_view(app.keys.revoke(key_id), now_s=time.time())
