"""Rates: how many requests and tokens a minute a key may send for."""

from collections import OrderedDict
from typing import NamedTuple

from orchestrator.domain.answers import Answer
from orchestrator.domain.keys import ApiKey
from orchestrator.errors import TooFastError
from orchestrator.ports.rates import RateLimiter

MINUTE_S = 60.0
MOST_KEYS = 10_000
REQUESTS, TOKENS = "requests", "tokens"


class Standing(NamedTuple):
    """One limit of a key, as it stands: of how many a minute so many are left, all of them in `reset_s`."""

    unit: str
    limit: int
    left: int
    reset_s: float


class Admission(NamedTuple):
    """Limits of a key as they stand after a request, and why that is refused; None = it is not."""

    standings: list[Standing]
    refusal: TooFastError | None = None


class Rates:
    """Rates of keys.

    Args:
        limiter: counts.
    """

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter
        self._tokens_of: OrderedDict[str, int] = OrderedDict()

    def admit(self, key: ApiKey, *, asks: bool) -> Admission:
        """Count a request that `asks` for something; a look-up is let in, and counts for nothing. Tokens
        count when their answer is there."""
        terms = key.terms
        if terms.tokens_per_minute is not None:
            self._remember(key.id, terms.tokens_per_minute)
        limits = ((REQUESTS, terms.requests_per_minute, int(asks)), (TOKENS, terms.tokens_per_minute, 0))
        standings: list[Standing] = []
        for unit, limit, cost in limits:
            if limit is None:
                continue
            room = self._limiter.take(f"{key.id}:{unit}", per_minute=limit, cost=cost, anyhow=not asks)
            standings.append(_standing(unit, limit, room.left))
            if not room.has_room:
                return Admission(standings, _refusal(unit, limit, room.left))
        return Admission(standings)

    def answered(self, owner: str, answer: Answer) -> None:
        """Count the tokens of an answer, for its owner, if that has a limit of them."""
        limit = self._tokens_of.get(owner)
        if limit is not None:
            usage = answer.usage
            n = usage.prompt_tokens + usage.completion_tokens
            self._limiter.take(f"{owner}:{TOKENS}", per_minute=limit, cost=n, anyhow=True)

    def close(self) -> None:
        """Close connections to where rates are counted; nothing is taken after that."""
        self._limiter.close()

    def _remember(self, key_id: str, limit: int) -> None:
        self._tokens_of[key_id] = limit
        self._tokens_of.move_to_end(key_id)
        while len(self._tokens_of) > MOST_KEYS:
            self._tokens_of.popitem(last=False)


def _refusal(unit: str, limit: int, left: float) -> TooFastError:
    return TooFastError(
        f"this key may send for {limit} {unit} a minute, and has.",
        remedy="Wait as long as `Retry-After` says.",
        retry_after_s=max(0.001, (1 - left) * MINUTE_S / limit),
    )


def _standing(unit: str, limit: int, left: float) -> Standing:
    return Standing(unit, limit, max(0, int(left)), max(0.0, (limit - left) * MINUTE_S / limit))
