"""The middleware itself, without a framework around it."""

import asyncio
from collections.abc import Iterable

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.errors import BodyTooLargeError
from api.middleware.bodies import BodyLimit
from api.middleware.in_flight import InFlightLimit


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


def test_a_client_that_does_not_read_loses_its_place() -> None:
    """One place, taken again and again by clients that take nothing of what they asked for."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def stuck(message: Message) -> None:
        await asyncio.Event().wait()

    async def scene() -> list[Message]:
        limit = InFlightLimit(answer, max_in_flight=1, timeout_s=0.01)
        scope = {"type": "http", "method": "GET", "path": "/v1/jobs/j/answers", "headers": []}
        for _ in range(3):
            await limit(scope, _nothing, stuck)
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        await limit(scope, _nothing, keep)
        return sent

    assert [message["status"] for message in asyncio.run(scene())] == [200]


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize(
    ("method", "path", "n_taken"),
    [
        ("POST", "/v1/route", 1),
        ("GET", "/v1/models", 1),
        ("GET", "/v1/jobs/j/events", 2),
        ("POST", "/v1/jobs", 3),
        ("GET", "/health/live", 9),
    ],
)
def test_kinds_of_requests_have_places_of_their_own(method: str, path: str, n_taken: int) -> None:
    """1 question, 1 look-up, 2 streams, 3 uploads; the health is always told."""
    entered, refused = 0, 0

    async def scene() -> None:
        nonlocal entered, refused
        done = asyncio.Event()

        async def wait(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal entered
            entered += 1
            await done.wait()

        async def refuse(message: Message) -> None:
            nonlocal refused
            refused += message.get("status") == 429

        limit = InFlightLimit(wait, max_in_flight=1, max_streams=2, max_uploads=3, uploads=["/v1/jobs"])
        scope = {"type": "http", "method": method, "path": path, "headers": []}
        tasks = [asyncio.create_task(limit(scope, _nothing, refuse)) for _ in range(9)]
        await asyncio.sleep(0)  # each runs until it waits
        done.set()
        await asyncio.gather(*tasks)

    asyncio.run(scene())
    assert (entered, refused) == (n_taken, 9 - n_taken)
