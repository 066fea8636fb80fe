"""Requests in flight: bounded by kind, the surplus waits in a bounded line, as plain ASGI middleware.

A place among those that are answered is taken when the request has come as a whole: who sends half of one
keeps nobody waiting.
"""

import asyncio
import json
import logging
import math
from collections.abc import Callable, Collection
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import error_response
from api.middleware.places import Places
from orchestrator.errors import MusterError

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
EVENTS = "/events"
MAX_WAIT = "max_wait_s"
"""Field of `muster` in a body: seconds that its request may wait for a place."""


class Line(NamedTuple):
    """Bounds of the line of each kind: how many may wait, and each of them for how long."""

    max_queued: int = 0
    max_wait_s: float = 60.0


NO_LINE = Line()


class Share(NamedTuple):
    """Requests of one kind.

    Attributes:
        counts: whether a request is of this kind.
        reads: its body is small: it is kept while the request waits, and says for how long it may.
    """

    counts: Callable[[Scope], bool]
    places: Places
    reads: bool = True


def _shares(
    max_in_flight: int, max_streams: int, max_uploads: int, *, uploads: Collection[str], line: Line
) -> tuple[Share, ...]:
    """Kinds of requests that do not take each other's places: uploads to the paths `uploads`, questions,
    event streams (nobody waits for one: they do not end), look-ups. The health of the process is always
    told."""

    def places(most: int, name: str, max_queued: int = line.max_queued) -> Places:
        return Places(most, max_queued=max_queued, name=name)

    return (
        Share(
            lambda s: s["method"] == "POST" and _path(s) in uploads,
            places(max_uploads, "uploads"),
            reads=False,
        ),
        Share(lambda s: s["method"] not in ("GET", "HEAD"), places(max_in_flight, "requests")),
        Share(lambda s: _path(s).endswith(EVENTS), places(max_streams, "event streams", 0)),
        Share(lambda s: not _path(s).startswith("/health"), places(max_in_flight, "look-ups")),
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
    """At most so many requests of a kind at a time: of the first kind that a request is of. Others wait.

    Args:
        timeout_s: a client that takes no part of its response for so long loses its place.
        line: bounds of those that wait; by default nobody does.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_in_flight: int,
        max_streams: int | None = None,
        max_uploads: int | None = None,
        uploads: Collection[str] = (),
        timeout_s: float = TIMEOUT_S,
        line: Line = NO_LINE,
    ) -> None:
        self.app = app
        self._timeout_s = timeout_s
        self._max_wait_s = line.max_wait_s
        streams, at_once = max_streams or max_in_flight, max_uploads or max_in_flight
        self._kinds = _shares(max_in_flight, streams, at_once, uploads=uploads, line=line)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kinds = self._kinds if scope["type"] == "http" else ()
        kind = next((kind for kind in kinds if kind.counts(scope)), None)
        if kind is None:
            await self.app(scope, receive, send)
            return
        if not kind.places.take_now():
            try:
                placed = await self._wait(kind, receive)
            except MusterError as error:
                await error_response(error)(scope, receive, send)
                return
            if placed is None:
                log.info("%s %s: the client left the line", scope["method"], _path(scope))
                return
            receive = placed
        try:
            await self.app(scope, receive, _taken(send, self._timeout_s))
        except SlowReaderError:
            log.info("%s %s: the client does not read what it asked for", scope["method"], _path(scope))
        finally:
            kind.places.give_back()

    async def _wait(self, kind: Share, receive: Receive) -> Receive | None:
        """What gives the messages of a request that has its place now; None = its client has left.

        Raises:
            OverloadedError: too many wait, or it waited too long.
        """
        if not kind.reads:
            await kind.places.take(within_s=self._max_wait_s)
            return receive
        messages: list[Message] = []
        while not messages or messages[-1].get("more_body", False):
            messages.append(await receive())
            if messages[-1]["type"] != "http.request":
                return None
        body = b"".join(message.get("body", b"") for message in messages)
        within_s = min(self._max_wait_s, wanted_wait_s(body))
        taking = asyncio.ensure_future(kind.places.take(within_s=within_s, n_bytes=len(body)))
        leaving = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({taking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                return None
            taking.result()
        finally:
            leaving.cancel()
            if not taking.done():
                taking.cancel()
        return _again(messages, receive)


def wanted_wait_s(body: bytes) -> float:
    """Seconds that a request may wait by its own words; inf = it says nothing. Words that make no sense are
    told by who reads them next."""
    if MAX_WAIT.encode() not in body:
        return math.inf
    try:
        wanted = json.loads(body)["muster"][MAX_WAIT]
    except (ValueError, TypeError, KeyError, RecursionError):
        return math.inf
    is_number = isinstance(wanted, int | float) and not isinstance(wanted, bool)
    return max(0.0, float(wanted)) if is_number and math.isfinite(wanted) else math.inf


def _again(messages: list[Message], receive: Receive) -> Receive:
    coming = iter(messages)

    async def again() -> Message:
        return next(coming, None) or await receive()

    return again
