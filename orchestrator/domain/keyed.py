"""Keyed requests: what came with an Idempotency-Key is done once, however often it comes."""

from typing import NamedTuple

from pydantic import Field

from orchestrator.domain.values import Value


class RequestKey(NamedTuple):
    """A key as it is kept: whose it is ("" = nobody's), the path that it came to, and its SHA-256."""

    owner: str
    path: str
    key_hash: str


class Reply(Value):
    """The whole of what a request was answered: status, headers in lower case, text of the body."""

    status: int
    headers: dict[str, str] = Field(default_factory=dict)
    body: str = ""


class KeyedRequest(Value):
    """A request on the books.

    `unique`: 32 hexadecimal digits; ids of what the request makes end in it. `created_at`: seconds since
    the epoch by the database's clock. `reply` None = it has not been answered.
    """

    unique: str
    fingerprint: str
    created_at: float = 0.0
    reply: Reply | None = None
