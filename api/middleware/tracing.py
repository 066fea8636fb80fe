"""Tracing of requests, as plain ASGI middleware: a span for each, which all that is done for it lies in."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware.metering import endpoint_of
from orchestrator.domain.metrics import OTHER, IsKnown
from orchestrator.domain.span_names import STATUS, checked_traceparent, request_attributes
from orchestrator.ports.telemetry import Tracer
from orchestrator.runtime.context import bound

UNTRACED = ("/health", "/metrics", "/version")


class RequestSpans:
    """Opens a span for each request, inside the one that its `traceparent` names.

    Args:
        is_endpoint: templates of the routes there are; other paths are not told.
    """

    def __init__(self, app: ASGIApp, *, tracer: Tracer, is_endpoint: IsKnown) -> None:
        self.app = app
        self._tracer = tracer
        self._is_endpoint = is_endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._tracer.is_on or scope["path"].startswith(UNTRACED):
            await self.app(scope, receive, send)
            return
        parent = checked_traceparent(Headers(scope=scope).get("traceparent", ""))
        span = self._tracer.begin(scope["method"], parent=parent, kind="server")
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with bound(traceparent=span.traceparent):
                await self.app(scope, receive, watched)
        finally:
            endpoint = endpoint_of(scope)
            known = endpoint if self._is_endpoint(endpoint) else OTHER
            span.set({**request_attributes(scope["method"], known), STATUS: status})
            span.end(error=str(status) if status >= 500 or not status else None)
