"""Rates of keys over all servers of a stack, with a real Redis."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from orchestrator.runtime.rates import LocalRates
from tests.fakes.work import HandClock
from tests.harness.servers import Redis, open_redis, redis_is_installed
from workers.stack.rates import RedisRates

pytestmark = pytest.mark.skipif(not redis_is_installed(), reason="no Redis server")

SLOWLY = 1
"""A minute: while a test runs, nothing comes back."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with open_redis(tmp_path) as server:
        yield server


Opener = Callable[..., RedisRates]


@pytest.fixture
def opened(redis: Redis) -> Iterator[Opener]:
    """Opens the rates of one more server, closed at the end."""
    with ExitStack() as stack:

        def open_one(clock: HandClock | None = None) -> RedisRates:
            rates = RedisRates(redis.url, instead=LocalRates(HandClock()), clock=clock or time.monotonic)
            return stack.enter_context(closing(rates))

        yield open_one


def names(server: Redis) -> list[bytes]:
    with closing(server.client()) as client:
        return list(client.keys("*"))


def test_all_servers_count_together(opened: Opener) -> None:
    servers = [opened() for _ in range(3)]
    taken = [servers[i % 3].take("key", per_minute=SLOWLY, cost=1).has_room for i in range(6)]
    assert taken == [True] + [False] * 5
    assert servers[0].take("another", per_minute=SLOWLY, cost=1).has_room


def test_two_who_come_together_do_not_both_get_the_last(opened: Opener) -> None:
    rates = opened()
    start = threading.Barrier(16)

    def take(_: int) -> bool:
        start.wait()
        return rates.take("key", per_minute=SLOWLY, cost=1).has_room

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(take, range(16))) == 1


def test_what_is_owed_is_remembered(opened: Opener) -> None:
    rates = opened()
    assert rates.take("key", per_minute=10, cost=100, anyhow=True).left == pytest.approx(-90, abs=5)
    assert not rates.take("key", per_minute=10, cost=1).has_room


def test_a_limit_that_nobody_uses_is_forgotten(redis: Redis, opened: Opener) -> None:
    opened().take("key", per_minute=60, cost=1)
    [name] = names(redis)
    with closing(redis.client()) as client:
        assert 0 < client.pttl(name) <= 3000


def test_without_redis_each_process_counts_and_nobody_is_refused_for_its_sake(
    redis: Redis, opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    clock = HandClock()
    rates = opened(clock)
    assert rates.take("key", per_minute=2, cost=1).left == pytest.approx(1, abs=0.5)
    redis.kill()
    with caplog.at_level(logging.WARNING):
        taken = [rates.take("key", per_minute=2, cost=1).has_room for _ in range(3)]
    assert taken == [True, True, False]
    assert len(caplog.records) == 1, "it is asked again only after a while"
    redis.start()
    clock.now += 10
    assert rates.take("another", per_minute=2, cost=1).has_room
    assert b"muster:rate:another" in names(redis)
