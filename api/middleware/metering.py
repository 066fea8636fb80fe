"""Metering of requests, as plain ASGI middleware: how many there were, how they ended, how long they took."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.domain.metrics import NONE, OTHER, REQUEST_SECONDS, REQUESTS, Outcome
from orchestrator.ports.telemetry import Meter

TOO_MANY = 429


class RequestMeter:
    """Counts requests by the template of their route, the model that they name, and their outcome.

    A handler leaves the `model` that a request names in the request's state.
    """

    def __init__(self, app: ASGIApp, *, meter: Meter) -> None:
        self.app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, seen = time.monotonic(), _Seen()
        try:
            await self.app(scope, receive, seen.through(send))
        except asyncio.CancelledError:
            raise
        except Exception:
            seen.has_failed = True
            raise
        finally:
            endpoint = endpoint_of(scope)
            model = str(scope.get("state", {}).get("model", NONE))
            self._meter.count(REQUESTS, endpoint, model, seen.outcome)
            self._meter.observe(REQUEST_SECONDS, endpoint, value=time.monotonic() - began)


class _Seen:
    """What was sent of a response."""

    def __init__(self) -> None:
        self._status = 0
        self._is_whole = False
        self.has_failed = False

    def through(self, send: Send) -> Send:
        async def watched(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                self._status = message["status"]
            elif message["type"] == "http.response.body":
                self._is_whole = not message.get("more_body", False)

        return watched

    @property
    def outcome(self) -> Outcome:
        if self.has_failed or self._status >= 500:
            return Outcome.FAILED
        if not self._is_whole:
            return Outcome.LEFT
        if self._status == TOO_MANY:
            return Outcome.LIMITED
        return Outcome.REFUSED if self._status >= 400 else Outcome.OK


def endpoint_of(scope: Mapping[str, Any]) -> str:
    """The template of the route that answered; of a request that reached none its path, which is a template
    where the route has no parameters."""
    route = scope.get("route")
    return template_of(str(getattr(route, "path", None) or scope.get("path", OTHER)))


def template_of(path: str) -> str:
    """The path of a route as the API's document writes it."""
    return path.replace(":path}", "}")
