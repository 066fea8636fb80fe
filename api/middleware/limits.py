"""Bounds on what a client may send, how slowly, and how much of it at once, as plain ASGI middleware.

A place among those that are answered is taken when the request has come as a whole: who sends half of one
keeps nobody waiting. The body is counted while it streams: a missing or false Content-Length changes nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BodyTooLargeError, MediaTypeError, OverloadedError, SlowRequestError, error_response

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
MIN_BYTES_PER_S = 16_384
"""A body that comes faster has more time than the deadline."""
RECEIVING_BYTES = 64 << 20
"""Of bodies that have not come as a whole; then the one that takes longest is given up."""
EVENTS = "/events"


class Share(NamedTuple):
    """Requests of one kind that are answered at the same time.

    Attributes:
        counts: whether a request is of this kind.
        most: of them; one more gets 429 with Retry-After.
        name: what they are called in the message.
    """

    counts: Callable[[Scope], bool]
    most: int
    name: str


def _shares(max_in_flight: int, max_streams: int, max_uploads: int, *, uploads: str) -> tuple[Share, ...]:
    """Kinds of requests that do not take each other's places: uploads to the path `uploads`, questions, event
    streams, look-ups. The health of the process is always told."""
    return (
        Share(lambda s: s["method"] == "POST" and _path(s) == uploads, max_uploads, "uploads"),
        Share(lambda s: s["method"] not in ("GET", "HEAD"), max_in_flight, "requests"),
        Share(lambda s: _path(s).endswith(EVENTS), max_streams, "event streams"),
        Share(lambda s: not _path(s).startswith("/health"), max_in_flight, "look-ups"),
    )


class SlowReaderError(Exception):
    """A client that does not read."""


def _taken(send: Send, timeout_s: float) -> Send:
    async def taken(message: Message) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await send(message)
        except TimeoutError:
            raise SlowReaderError from None

    return taken


def _path(scope: Scope) -> str:
    return str(scope.get("path", ""))


class InFlightLimit:
    """At most so many requests of a kind at a time: of the first kind that a request is of.

    Args:
        timeout_s: a client that takes no part of its response for so long loses its place.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_in_flight: int,
        max_streams: int | None = None,
        max_uploads: int | None = None,
        uploads: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.app = app
        self._timeout_s = timeout_s
        self._kinds = _shares(
            max_in_flight, max_streams or max_in_flight, max_uploads or max_in_flight, uploads=uploads
        )
        self._n_in_flight = [0] * len(self._kinds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        own = [i for i, kind in enumerate(self._kinds) if scope["type"] == "http" and kind.counts(scope)][:1]
        if not own:
            await self.app(scope, receive, send)
            return
        kind = self._kinds[own[0]]
        if self._n_in_flight[own[0]] >= kind.most:
            error = OverloadedError(
                f"{kind.most} {kind.name} are in flight already.", remedy="Try again in a moment."
            )
            await error_response(error)(scope, receive, send)
            return
        self._n_in_flight[own[0]] += 1
        try:
            await self.app(scope, receive, _taken(send, self._timeout_s))
        except SlowReaderError:
            log.info("%s %s: the client does not read what it asked for", scope["method"], _path(scope))
        finally:
            self._n_in_flight[own[0]] -= 1


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
        self._began = asyncio.get_running_loop().time()
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
