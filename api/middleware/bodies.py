"""Bounds on what a client may send, and how slowly, as plain ASGI middleware.

The body is counted while it streams: a missing or false Content-Length changes nothing.
"""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BodyTooLargeError, MediaTypeError, SlowRequestError, error_response

TIMEOUT_S = 30.0
MIN_BYTES_PER_S = 16_384
"""A body that comes faster has more time than the deadline."""
RECEIVING_BYTES = 64 << 20
"""Of bodies that have not come as a whole; then the one that takes longest is given up."""


class BodyLimit:
    """Bodies, before anything else looks at them: bounded in bytes (413), in time (408), and as they are (415
    for encoded ones, e.g. gzip).

    Small ones are handed on when they have come as a whole. Those of the paths in `larger`, which have limits
    of their own, stream through to who keeps them on disk.

    Args:
        timeout_s: of a body, and of each of its pauses; a longer one must come at `MIN_BYTES_PER_S`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int,
        timeout_s: float = TIMEOUT_S,
        larger: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.larger = larger
        self._timeout_s = timeout_s
        self._receiving: dict[_Body, None] = {}

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
        is_larger = _path(scope) in self.larger
        body = _Body(receive, most=self.larger.get(_path(scope), self.max_bytes), timeout_s=self._timeout_s)
        if length.isdecimal() and int(length[:20]) > body.most:
            await error_response(_too_large(body.most))(scope, receive, send)
            return
        if is_larger or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, body.receive, send)
            return
        whole = await self._whole(body)
        if whole is not None:  # else the client has left
            await self.app(scope, whole, send)

    async def _whole(self, body: "_Body") -> Receive | None:
        """What gives the messages of a body again that has come; None = it never will."""
        messages: list[Message] = []
        self._receiving[body] = None
        try:
            while not messages or messages[-1].get("more_body", False):
                messages.append(await body.receive())
                if messages[-1]["type"] != "http.request":
                    return None
                self._make_room()
        except (BodyTooLargeError, SlowRequestError) as error:
            return _failing(error)
        finally:
            del self._receiving[body]
        coming = iter(messages)

        async def again() -> Message:
            return next(coming, None) or await body.receive()

        return again

    def _make_room(self) -> None:
        """Give up who takes longest, the first that began, while too many bytes wait for their end."""
        if sum(body.n_bytes for body in self._receiving) > RECEIVING_BYTES:
            next(iter(self._receiving)).give_up()


def _failing(error: Exception) -> Receive:
    """Whoever reads the body meets the error, and answers with it."""

    async def fail() -> Message:
        raise error

    return fail


class _Body:
    """A body as it comes, counted and timed."""

    def __init__(self, receive: Receive, *, most: int, timeout_s: float) -> None:
        self.most = most
        self.n_bytes = 0
        self._receive = receive
        self._timeout_s = timeout_s
        self._began: float | None = None
        self._is_whole = False
        self._given_up = asyncio.Event()

    def give_up(self) -> None:
        self._given_up.set()

    async def receive(self) -> Message:
        """
        Raises:
            BodyTooLargeError: more came than may.
            SlowRequestError: it takes too long.
        """
        if self._is_whole:  # what comes now says that the client has left
            return await self._receive()
        message = await self._in_time()
        if message["type"] == "http.request":
            self.n_bytes += len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
            if self.n_bytes > self.most:
                raise _too_large(self.most)
        else:
            self._is_whole = True
        return message

    async def _in_time(self) -> Message:
        now = asyncio.get_running_loop().time()
        self._began = now if self._began is None else self._began  # it is asked for when it has its place
        left_s = self._began + self._timeout_s + self.n_bytes / MIN_BYTES_PER_S - now
        try:
            async with asyncio.timeout(max(0.0, min(left_s, self._timeout_s))):
                if self._given_up.is_set():
                    raise TimeoutError
                return await self._receive()
        except TimeoutError:
            raise SlowRequestError(
                f"the body did not come within {self._timeout_s:g} s.",
                remedy="Send it faster, or less of it.",
            ) from None


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body is larger than {max_bytes} bytes.", remedy="Send less.")


def _path(scope: Scope) -> str:
    return str(scope.get("path", ""))
