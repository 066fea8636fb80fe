"""Keys as they are shown, and as they are asked for."""

import time
from collections.abc import Sequence
from typing import Any, Literal

from api.schemas.keys import KeyBudgetWire, KeyRequest, KeyView, NewKeyView, SpendView
from api.schemas.pages import PageView
from api.views.pages import page_view
from orchestrator.domain.keys import ApiKey, KeyBudget, KeyTerms, Period, Scope
from orchestrator.domain.pages import PageRequest, page_of
from orchestrator.domain.spending import Account, Spend
from orchestrator.services.keys import Keys


def key_terms(request: KeyRequest) -> KeyTerms:
    """Terms that a key is asked for with; scopes and experts each once."""
    return KeyTerms(
        name=request.name,
        scopes=tuple(dict.fromkeys(Scope(scope) for scope in request.scopes)),
        experts=None if request.experts is None else tuple(dict.fromkeys(request.experts)),
        expires_at=request.expires_at,
        requests_per_minute=request.requests_per_minute,
        tokens_per_minute=request.tokens_per_minute,
        budget=None if request.budget is None else _budget(request.budget),
    )


def key_view(key: ApiKey, account: Account | None = None, *, now_s: float) -> KeyView:
    """A key without its secret. Args: account: of its budget; None = nothing was used yet, or it has none."""
    return KeyView(**_fields(key, now_s, account))


def key_views(keys: Keys) -> list[KeyView]:
    """Every key, the newest first."""
    return _views(keys, keys.listed())


def key_page(keys: Keys, request: PageRequest) -> PageView[KeyView]:
    """One page of the keys.

    Raises:
        InputError: there is no key to begin after.
    """
    found = page_of(keys.listed(), request, lambda key: key.id)
    return page_view(_views(keys, found.items), id_of=lambda view: view.id, has_more=found.has_more)


def _views(keys: Keys, shown: Sequence[ApiKey]) -> list[KeyView]:
    accounts, now = keys.accounts(shown), time.time()
    return [key_view(key, accounts.get(key.id), now_s=now) for key in shown]


def new_key_view(key: ApiKey, secret: str) -> NewKeyView:
    """A key that was made just now, with its secret, which nobody can tell again."""
    return NewKeyView(**_fields(key, key.created_at), secret=secret)


def _fields(key: ApiKey, now_s: float, account: Account | None = None) -> dict[str, Any]:
    terms = key.terms
    return {
        "id": key.id,
        "key": key.shown,
        "name": terms.name,
        "state": _state(key, now_s),
        "scopes": [scope.value for scope in terms.scopes],
        "experts": None if terms.experts is None else list(terms.experts),
        "created_at": int(key.created_at),
        "expires_at": None if terms.expires_at is None else int(terms.expires_at),
        "revoked_at": None if key.revoked_at is None else int(key.revoked_at),
        "requests_per_minute": terms.requests_per_minute,
        "tokens_per_minute": terms.tokens_per_minute,
        "budget": None if terms.budget is None else _budget_wire(terms.budget),
        "used": None if account is None else _spend_view(account.used),
        "held": None if account is None else _spend_view(account.held),
    }


def _spend_view(spend: Spend) -> SpendView:
    return SpendView(tokens=spend.tokens, usd=spend.usd, engine_seconds=spend.engine_s)


def _state(key: ApiKey, now_s: float) -> Literal["valid", "expired", "revoked"]:
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if key.is_valid(now_s) else "expired"


def _budget(wire: KeyBudgetWire) -> KeyBudget:
    return KeyBudget(per=Period(wire.per), tokens=wire.tokens, usd=wire.usd, engine_s=wire.engine_seconds)


def _budget_wire(budget: KeyBudget) -> KeyBudgetWire:
    return KeyBudgetWire(
        per=budget.per.value, tokens=budget.tokens, usd=budget.usd, engine_seconds=budget.engine_s
    )
