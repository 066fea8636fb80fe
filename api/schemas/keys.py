"""Wire types of `/v1/keys`."""

from typing import Literal

from pydantic import Field

from api.schemas.base import Wire


class KeyBudgetWire(Wire):
    """Budget of a key in each `per` (by the calendar, UTC; `total`: once); null = no limit."""

    per: Literal["day", "month", "total"] = "month"
    tokens: int | None = Field(default=None, ge=1)
    usd: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    engine_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class KeyRequest(Wire):
    """`POST /v1/keys`. `experts`: those that may be asked, null = every one of the pool. `expires_at`: in
    seconds since 1970, null = never."""

    name: str = Field(default="", max_length=128)
    scopes: list[Literal["ask", "batch", "admin"]] = Field(default=["ask"], min_length=1, max_length=3)
    experts: list[str] | None = Field(default=None, min_length=1, max_length=10_000)
    expires_at: int | None = Field(default=None, ge=1, le=2**53)
    requests_per_minute: int | None = Field(default=None, ge=1, le=2**53)
    tokens_per_minute: int | None = Field(default=None, ge=1, le=2**53)
    budget: KeyBudgetWire | None = None


class SpendView(Wire):
    tokens: int
    usd: float
    engine_seconds: float


class KeyView(Wire):
    """A key without its secret; `key` shows how that begins. `used` and `held`: of its budget in the present
    period, by questions that ended and for those that run; null = nothing yet, or no budget."""

    id: str
    object: Literal["muster.key"] = "muster.key"
    key: str
    name: str
    state: Literal["valid", "expired", "revoked"]
    scopes: list[str]
    experts: list[str] | None
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    budget: KeyBudgetWire | None
    used: SpendView | None
    held: SpendView | None


class NewKeyView(KeyView):
    """A key that was made just now; `secret` is shown this once."""

    secret: str
