"""Places among the requests that are answered: who waits, in which order, and who is told to come later."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.errors import OverloadedError, error_response
from api.middleware.in_flight import InFlightLimit, Line, wanted_wait_s
from api.middleware.places import LONGEST_S, WAITING_BYTES, Places, Throughput
from tests.fakes.work import HandClock

FOREVER_S = 1e6


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def make_places(most: int = 1, *, max_queued: int = 9) -> tuple[Places, HandClock]:
    clock = HandClock()
    return Places(most, max_queued=max_queued, name="requests", clock=clock), clock


async def settled() -> None:
    """Everybody has done what can be done without anybody else."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_whoever_waits_gets_a_place_in_the_order_of_coming() -> None:
    async def test() -> None:
        places, _ = make_places()
        got: list[int] = []

        async def take(n: int) -> None:
            await places.take(within_s=FOREVER_S)
            got.append(n)

        takers = [asyncio.ensure_future(take(n)) for n in range(4)]
        await settled()
        assert (got, places.n_waiting) == ([0], 3)
        for n in range(1, 4):
            places.give_back()
            await settled()
            assert got == list(range(n + 1))
        await asyncio.gather(*takers)
        places.give_back()
        assert places.take_now()

    run(test())


def test_whoever_leaves_as_a_place_becomes_free_leaves_without_an_error_of_its_own() -> None:
    async def test() -> None:
        places, _ = make_places()
        assert places.take_now()
        leaving = asyncio.ensure_future(places.take(within_s=FOREVER_S))
        await settled()
        leaving.cancel()
        places.give_back()  # before the one that leaves has seen that it is to leave
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert places.n_waiting == 0
        assert places.take_now()

    run(test())


def test_whoever_leaves_the_line_keeps_nobody_waiting() -> None:
    async def test() -> None:
        places, _ = make_places()
        assert places.take_now()
        first, second = (asyncio.ensure_future(places.take(within_s=FOREVER_S)) for _ in range(2))
        await settled()
        first.cancel()
        await settled()
        assert places.n_waiting == 1
        places.give_back()
        await second
        places.give_back()
        assert places.take_now()

    run(test())


def test_a_place_that_comes_to_somebody_who_just_left_goes_on_to_the_next() -> None:
    async def test() -> None:
        places, _ = make_places()
        assert places.take_now()
        first, second = (asyncio.ensure_future(places.take(within_s=FOREVER_S)) for _ in range(2))
        await settled()
        places.give_back()
        first.cancel()
        await second
        places.give_back()
        assert places.take_now()

    run(test())


def test_too_many_too_much_and_too_long_are_refused() -> None:
    async def test() -> None:
        places, _ = make_places(max_queued=2)
        assert places.take_now()
        with pytest.raises(OverloadedError, match="within 0 s"):
            await places.take(within_s=0)
        big = asyncio.ensure_future(places.take(within_s=FOREVER_S, n_bytes=WAITING_BYTES))
        await settled()
        with pytest.raises(OverloadedError):
            await places.take(within_s=FOREVER_S, n_bytes=1)
        more = asyncio.ensure_future(places.take(within_s=FOREVER_S))
        await settled()
        with pytest.raises(OverloadedError, match="2 more wait"):
            await places.take(within_s=FOREVER_S)
        for one in (big, more):
            one.cancel()

    run(test())


def test_the_rate_is_measured_while_all_places_are_taken() -> None:
    """4 in 8 s: 2 s each. Before the first: all 4 places, if they took the 8 s that they have had."""
    rate = Throughput(4)
    rate.end(50.0)
    rate.fill(100.0)
    assert rate.seconds(1, 108.0) == 2.0
    for at in (102.0, 103.0, 104.0, 108.0):
        rate.end(at)
    assert [rate.seconds(n, 108.0) for n in (1, 3)] == [2.0, 6.0]
    rate.free()
    assert rate.seconds(1, 200.0) == 2.0
    rate.fill(200.0)
    assert rate.seconds(1, 212.0) == 4.0  # a fifth that takes 12 s already


def test_refused_ones_are_told_to_come_one_after_the_other() -> None:
    """One place, an answer each 2 s, nobody may wait: 2 s, 4 s, 6 s, and never more than a minute."""

    async def test() -> None:
        places, clock = make_places(max_queued=0)
        for _ in range(2):
            assert places.take_now()
            clock.now += 2.0
            places.give_back()
        assert places.take_now()
        told = []
        for _ in range(40):
            with pytest.raises(OverloadedError) as refused:
                await places.take(within_s=0)
            told.append(refused.value.retry_after_s)
        assert told == [min(2.0 * n, LONGEST_S) for n in range(1, 41)]

    run(test())


def test_retry_after_is_told_in_seconds_and_exactly() -> None:
    headers = error_response(OverloadedError("full.", retry_after_s=2.25)).headers
    told = [headers[name] for name in ("retry-after", "retry-after-ms", "x-should-retry")]
    assert told == ["3", "2250", "true"]


# ── the middleware ───────────────────────────────────────────────────────────────────────────────────


def post(body: bytes, gone: asyncio.Event) -> Receive:
    """Messages of a request whose client goes away when told to."""
    sent = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        message = next(sent, None)
        if message is None:
            await gone.wait()
            return {"type": "http.disconnect"}
        return message

    return receive


SCOPE: Scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}


def test_of_320_at_once_with_256_in_flight_all_are_answered() -> None:
    async def test() -> None:
        gate, gone = asyncio.Event(), asyncio.Event()
        at_once, most, bodies = 0, 0, set()

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            bodies.add((await receive())["body"])
            await gate.wait()
            at_once -= 1
            await send({"type": "http.response.start", "status": 200, "headers": []})

        statuses: list[int] = []

        async def send(message: Message) -> None:
            statuses.append(message["status"])

        limit = InFlightLimit(answer, max_in_flight=256, line=Line(1024))
        asked = [asyncio.ensure_future(limit(SCOPE, post(str(n).encode(), gone), send)) for n in range(320)]
        while at_once < 256:
            await settled()
        gate.set()
        await asyncio.gather(*asked)
        assert (statuses, most) == ([200] * 320, 256)
        assert bodies == {str(n).encode() for n in range(320)}

    run(test())


async def refused_or_left(body: bytes, gone: asyncio.Event) -> tuple[list[Message], list[str]]:
    """A request beside one that never ends: what it was told, and who was answered."""
    answered: list[str] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        answered.append(scope["path"])
        await asyncio.Event().wait()

    told: list[Message] = []

    async def send(message: Message) -> None:
        told.append(message)

    limit = InFlightLimit(answer, max_in_flight=1, line=Line(5, FOREVER_S))
    first = asyncio.ensure_future(limit(SCOPE, post(b"", asyncio.Event()), send))
    await settled()
    await limit(SCOPE, post(body, gone), send)
    first.cancel()
    return told, answered


def test_a_request_waits_no_longer_than_it_says() -> None:
    async def test() -> None:
        body = json.dumps({"muster": {"max_wait_s": 0.001}}).encode()
        told, answered = await refused_or_left(body, asyncio.Event())
        assert (told[0]["status"], len(answered)) == (429, 1)
        assert b"retry-after-ms" in dict(told[0]["headers"])

    run(test())


def test_a_client_that_leaves_the_line_is_not_answered() -> None:
    async def test() -> None:
        gone = asyncio.Event()
        gone.set()
        told, answered = await refused_or_left(b"{}", gone)
        assert (told, len(answered)) == ([], 1)

    run(test())


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"muster": {"max_wait_s": 2}}', 2.0),
        (b'{"muster": {"max_wait_s": 0}}', 0.0),
        (b'{"muster": {"max_wait_s": -1}}', 0.0),
        *(
            (body, float("inf"))
            for body in (
                b"",
                b"{}",
                b'{"max_wait_s": 1}',
                b'{"muster": {"max_wait_s": "1"}}',
                b'{"muster": {"max_wait_s": true}}',
                b'{"muster": {"max_wait_s": NaN}}',
                b'{"muster": {"max_wait_s": null}}',
                b'{"muster": ["max_wait_s"]}',
                b'["max_wait_s"',
                b"[" * 100_000 + b'"max_wait_s"',
                b'\xff"max_wait_s"',
            )
        ),
    ],
)
def test_how_long_a_request_may_wait_is_read_or_left_to_its_reader(body: bytes, wanted: float) -> None:
    assert wanted_wait_s(body) == wanted
