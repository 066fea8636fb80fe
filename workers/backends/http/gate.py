"""Gate of calls: the breaker and the limits of one endpoint, and whoever waits for them."""

import asyncio
import math
from contextlib import suppress
from typing import NamedTuple

from orchestrator.ports.clock import Clock
from workers.backends.http.breaker import Breaker, Go, Refuse, Verdict, Wait
from workers.backends.http.failures import CallError
from workers.backends.http.limits import RateLimits, Receipt


class Pass(NamedTuple):
    """A call that has started; it ends in exactly one of the gate's last three methods."""

    receipt: Receipt
    is_probe: bool


class Signal:
    """Wakes everyone who waits on one event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake all who wait now; who waits later waits for the next ring."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout_s: float | None) -> None:
        """Until the next ring or the time is up. Args: timeout_s: None = until the next ring."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._event.wait()


class Gate:
    """Used from one event loop; `changed` rings whenever a verdict may have changed."""

    def __init__(self, breaker: Breaker, limits: RateLimits, *, changed: Signal, clock: Clock) -> None:
        self._breaker = breaker
        self._limits = limits
        self._changed = changed
        self._clock = clock

    def verdict(self, n_tokens: int) -> Verdict:
        """Permission for a call of about `n_tokens` now."""
        verdict = self._breaker.verdict()
        if not isinstance(verdict, Go):
            return verdict
        wait_s = self._limits.wait_s(n_tokens)
        return Wait(wait_s) if wait_s > 0 else verdict

    def enter(self, n_tokens: int) -> Pass:
        """A call starts, after the verdict `Go`."""
        return Pass(self._limits.spend(n_tokens), self._breaker.enter())

    async def pass_by(self, n_tokens: int, *, until: float) -> Pass:
        """Wait for the verdict `Go` and enter.

        Raises:
            CallError: the endpoint is left alone, or the clock reaches `until` first.
        """
        while not isinstance(verdict := self.verdict(n_tokens), Go):
            left_s = until - self._clock()
            if isinstance(verdict, Refuse):
                raise verdict.error
            if left_s <= 0:
                raise CallError(
                    "no call was possible before the deadline.",
                    code="generation_timeout",
                    outage=True,
                    away=True,
                )
            await self._changed.wait(min(left_s, math.inf if verdict.seconds is None else verdict.seconds))
        return self.enter(n_tokens)

    def succeed(self, granted: Pass, *, n_tokens: int) -> None:
        """The call ended well and used `n_tokens`."""
        self._limits.settle(granted.receipt, n_tokens)
        self._breaker.succeed()
        self._changed.ring()

    def fail(self, granted: Pass, error: CallError) -> None:
        """The call ended in `error`. The tokens that it was estimated to take stay spent."""
        self._breaker.fail(error, probe=granted.is_probe)
        self._changed.ring()

    def leave(self, granted: Pass) -> None:
        """The call was given up on our side."""
        self._breaker.leave(probe=granted.is_probe)
        self._changed.ring()
