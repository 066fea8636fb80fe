"""Bounds on what a client may send and how much of it at once, as plain ASGI middleware.

The body is counted while it streams, so a missing or false Content-Length changes nothing.
"""

from collections.abc import Mapping
from types import MappingProxyType

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BodyTooLargeError, MediaTypeError, OverloadedError, error_response


class InFlightLimit:
    """At most `max_in_flight` questions at a time; one more gets 429 with Retry-After.

    Only POST is counted: health checks and look-ups stay reachable under load.
    """

    def __init__(self, app: ASGIApp, *, max_in_flight: int) -> None:
        self.app = app
        self.max_in_flight = max_in_flight
        self._n_in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        if self._n_in_flight >= self.max_in_flight:
            error = OverloadedError(
                f"{self.max_in_flight} requests are in flight already.", remedy="Try again in a moment."
            )
            await error_response(error)(scope, receive, send)
            return
        self._n_in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._n_in_flight -= 1


class BodyLimit:
    """Refuses bodies above `max_bytes` with 413 and encoded (e.g. gzip) bodies with 415.

    `larger`: limits of the paths that take uploads.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, larger: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            refusal = MediaTypeError(
                f"Content-Encoding '{encoding[:40]}' is not supported.", remedy="Send the body as it is."
            )
            await error_response(refusal)(scope, receive, send)
            return
        length = headers.get("content-length", "")
        max_bytes = self.larger.get(scope.get("path", ""), self.max_bytes)
        if length.isdecimal() and int(length[:20]) > max_bytes:
            await error_response(_too_large(max_bytes))(scope, receive, send)
            return
        await self.app(scope, _counted(receive, max_bytes), send)


def _counted(receive: Receive, max_bytes: int) -> Receive:
    n_bytes = 0

    async def counted() -> Message:
        nonlocal n_bytes
        message = await receive()
        if message["type"] == "http.request":
            n_bytes += len(message.get("body", b""))
            if n_bytes > max_bytes:
                raise _too_large(max_bytes)
        return message

    return counted


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body is larger than {max_bytes} bytes.", remedy="Send less.")
