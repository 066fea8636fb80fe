"""Exchanges: requests to `/v1/responses` that are kept, so that a later one can go on from them."""

from pydantic import Field, JsonValue

from orchestrator.domain.keys import NOBODY
from orchestrator.domain.values import Value

LONGEST_CHAIN = 128
"""Exchanges that one conversation may consist of."""


class Exchange(Value):
    """An exchange as it was asked; what came back stands in the books, under its job.

    Attributes:
        id: the response's own, as clients know it.
        job_id: the job that answers it; the exchange goes when that goes.
        previous_id: the exchange that this one goes on from; None = it begins a conversation.
        created_at: seconds since 1970.
        composition: that answers it.
        items: what was asked, each item with its id, in order; without what previous exchanges said.
        request: fields of the request beside its input, as they are shown.
    """

    id: str
    job_id: str
    owner: str = NOBODY
    previous_id: str | None = None
    created_at: int
    composition: str
    items: tuple[dict[str, JsonValue], ...] = ()
    request: dict[str, JsonValue] = Field(default_factory=dict)
