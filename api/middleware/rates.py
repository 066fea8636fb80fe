"""Rates of keys, as plain ASGI middleware: refuses who is too fast, and says how the key's limits stand."""

from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import error_response
from orchestrator.domain.keys import ApiKey
from orchestrator.services.rates import Rates, Standing

LOOK_UPS = ("GET", "HEAD", "OPTIONS")
"""Methods that count as no request."""


class KeyRates:
    """Refuses with 429 whoever sends for more requests or tokens a minute than its key may.

    Needs `key` in the request's state. Responses to keys with limits carry
    `x-ratelimit-{limit,remaining,reset}-{unit}`.
    """

    def __init__(self, app: ASGIApp, *, rates: Rates) -> None:
        self.app = app
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key: ApiKey | None = scope.get("state", {}).get("key")
        if key is None or (key.terms.requests_per_minute, key.terms.tokens_per_minute) == (None, None):
            await self.app(scope, receive, send)
            return
        asks = scope["method"] not in LOOK_UPS
        standings, refusal = await run_in_threadpool(self._rates.admit, key, asks=asks)
        headers = headers_of(standings)

        async def send_with_standings(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        handler = self.app if refusal is None else error_response(refusal)
        await handler(scope, receive, send_with_standings)


def headers_of(standings: Sequence[Standing]) -> dict[str, str]:
    """Headers that tell how limits stand; times as OpenAI's API writes them."""
    headers = {}
    for standing in standings:
        headers[f"x-ratelimit-limit-{standing.unit}"] = str(standing.limit)
        headers[f"x-ratelimit-remaining-{standing.unit}"] = str(standing.left)
        headers[f"x-ratelimit-reset-{standing.unit}"] = f"{standing.reset_s:.3f}s"
    return headers
