"""The middleware itself, without a framework around it."""

import asyncio
from collections.abc import Iterable

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.errors import BodyTooLargeError
from api.middleware.limits import BodyLimit


async def swallow(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass


def upload(chunks: Iterable[bytes], *, max_bytes: int) -> int:
    """Sends chunks to an application that reads them all; returns how many were pulled."""
    waiting = list(chunks)
    n_sent = 0

    async def receive() -> Message:
        nonlocal n_sent
        n_sent += 1
        body = waiting[n_sent - 1]
        return {"type": "http.request", "body": body, "more_body": n_sent < len(waiting)}

    async def send(message: Message) -> None:
        raise AssertionError("nothing to send")

    scope = {"type": "http", "method": "POST", "headers": []}
    try:
        asyncio.run(BodyLimit(swallow, max_bytes=max_bytes)(scope, receive, send))
    except BodyTooLargeError:
        return n_sent
    assert n_sent == len(waiting)
    return n_sent


def test_body_at_the_cap_passes() -> None:
    assert upload([b"12345", b"67890"], max_bytes=10) == 2


def test_reading_stops_at_the_chunk_that_passes_the_cap() -> None:
    assert upload([b"12345"] * 100, max_bytes=10) == 3


@pytest.mark.parametrize("length", [b"11", b"9" * 5000])
def test_announced_length_is_refused_before_anything_is_read(length: bytes) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing may be read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", length)]}
    asyncio.run(BodyLimit(swallow, max_bytes=10)(scope, receive, send))
    assert sent[0]["status"] == 413
