"""Rates of calls over all servers of a stack, counted in Redis; while that is away, in each process."""

import logging
import time
from collections.abc import Callable

import redis

from orchestrator.ports.rates import RateLimiter, Room
from orchestrator.runtime.rates import LocalRates
from orchestrator.settings.schema import Settings
from workers.stack.celery_app import broker_url, is_redis

log = logging.getLogger(__name__)

TIMEOUT_S = 0.5
BACKOFF_S = 5.0
"""For how long a Redis that did not answer is not asked."""

_TAKE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local most, cost = tonumber(ARGV[1]), tonumber(ARGV[2])
local known = redis.call('HMGET', KEYS[1], 'left', 'at')
local left, at = tonumber(known[1]) or most, tonumber(known[2]) or now
left = math.min(most, left + math.max(0, now - at) * most / 60)
local has_room = ARGV[3] == '1' or left >= 1
if has_room then left = left - cost end
redis.call('HSET', KEYS[1], 'left', tostring(left), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((most - left) * 60000 / most) + 1000)
return {has_room and 1 or 0, tostring(left)}
"""


class RedisRates:
    """Limits per minute in Redis, by its clock.

    Args:
        instead: counts while Redis does not answer; nobody is refused for its sake.
    """

    def __init__(
        self, url: str, *, instead: RateLimiter, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = redis.Redis.from_url(
            url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S, socket_keepalive=True
        )
        self._script = self._client.register_script(_TAKE)
        self._instead = instead
        self._clock = clock
        self._away_until = 0.0

    def take(self, name: str, *, per_minute: int, cost: float, anyhow: bool = False) -> Room:
        if self._clock() >= self._away_until:
            try:
                has_room, left = self._script(
                    keys=[f"muster:rate:{name}"], args=[per_minute, cost, int(anyhow)]
                )
                return Room(bool(has_room), float(left))
            except (redis.RedisError, OSError) as error:
                self._away_until = self._clock() + BACKOFF_S
                log.warning("rates of keys are counted in this process only, as Redis is away: %s", error)
        return self._instead.take(name, per_minute=per_minute, cost=cost, anyhow=anyhow)

    def close(self) -> None:
        self._client.close()


def open_rates(settings: Settings) -> RateLimiter:
    """Rates over all servers where the broker is a Redis; else each process counts its own. Nothing is
    connected yet."""
    url = broker_url(settings)
    return RedisRates(url, instead=LocalRates()) if is_redis(url) else LocalRates()
