"""Places among the requests that are answered, and the line of those that wait for one."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from api.errors import OverloadedError

WAITING_BYTES = 64 << 20
"""Of bodies in one line."""
MOST_GAPS = 256
"""Of the rate's measurements."""
LONGEST_S, SHORTEST_S = 60.0, 0.1
"""Of a Retry-After: clients of OpenAI's API do not believe in a longer one."""


class Throughput:
    """Seconds in which a place becomes free while all are taken: a mean over the latest that did.

    Args:
        most: places.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._since: float | None = None
        self._gaps: deque[float] = deque(maxlen=MOST_GAPS)

    def fill(self, now: float) -> None:
        """All places are taken. Args: now: seconds, by a clock that never goes back."""
        self._since = now

    def free(self) -> None:
        """Not all are, any more."""
        self._since = None

    def end(self, now: float) -> None:
        """One of those that were taken became free. Args: now: seconds."""
        if self._since is not None:
            self._gaps.append(now - self._since)
            self._since = now

    def seconds(self, n: int, now: float) -> float:
        """Seconds in which `n` places become free; before any did: if all took as long as they have had.

        Args:
            now: seconds.
        """
        lately = 0.0 if self._since is None else now - self._since
        if not self._gaps:
            return n * max(1.0, lately) / self._most
        total = sum(self._gaps)
        return n * max(total / len(self._gaps), (total + lately) / (len(self._gaps) + 1))


class _Waiter(NamedTuple):
    turn: "asyncio.Future[None]"
    n_bytes: int


class Places:
    """Places of one kind of requests; who finds none free waits, first come, first served.

    For one event loop.

    Args:
        most: places. max_queued: of those that wait. name: what has a place, in messages.
    """

    def __init__(
        self, most: int, *, max_queued: int, name: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._max_queued = max_queued
        self._name = name
        self._clock = clock
        self._n_taken = 0
        self._line: deque[_Waiter] = deque()
        self._throughput = Throughput(most)
        self._told_until = -math.inf

    @property
    def n_waiting(self) -> int:
        """Number of those in line."""
        return len(self._line)

    def take_now(self) -> bool:
        """Take a place if one is free; True if one was."""
        if self._n_taken >= self._most:
            return False
        self._n_taken += 1
        if self._n_taken == self._most:
            self._throughput.fill(self._clock())
        return True

    async def take(self, *, within_s: float, n_bytes: int = 0) -> None:
        """Take a place as soon as those who came before have theirs.

        Args:
            n_bytes: kept in memory meanwhile.

        Raises:
            OverloadedError: too many wait, or it is not free within `within_s` seconds.
        """
        if self.take_now():
            return
        n_bytes_waiting = sum(waiter.n_bytes for waiter in self._line)
        if len(self._line) >= self._max_queued or n_bytes_waiting + n_bytes > WAITING_BYTES:
            raise self._refusal(f"{len(self._line)} more wait")
        waiter = _Waiter(asyncio.get_running_loop().create_future(), n_bytes)
        self._line.append(waiter)
        try:
            async with asyncio.timeout(within_s):
                await waiter.turn
        except BaseException as error:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self.give_back()  # it came at the same moment
            elif waiter in self._line:  # `give_back` takes out those that it finds gone
                self._line.remove(waiter)
            if isinstance(error, TimeoutError):
                raise self._refusal(f"none became free within {within_s:g} s") from None
            raise

    def give_back(self) -> None:
        """Give a place to the next in line."""
        self._throughput.end(self._clock())
        while self._line:
            waiter = self._line.popleft()
            if not waiter.turn.done():
                waiter.turn.set_result(None)
                return
        self._n_taken -= 1
        self._throughput.free()

    def _refusal(self, why: str) -> OverloadedError:
        """Each who is refused is told to come when those who wait, and who were told before, have had
        theirs."""
        now = self._clock()
        first_at = now + self._throughput.seconds(len(self._line) + 1, now)
        at = max(first_at, self._told_until + self._throughput.seconds(1, now))
        self._told_until = min(at, now + LONGEST_S)
        return OverloadedError(
            f"{self._most} {self._name} are in flight already, and {why}.",
            remedy="Try again when Retry-After says.",
            retry_after_s=min(LONGEST_S, max(SHORTEST_S, at - now)),
        )
