"""Requests and tokens per minute, kept on our side so that the endpoint need not refuse."""

from collections import deque
from dataclasses import dataclass

from orchestrator.ports.clock import Clock

WINDOW_S = 60.0


@dataclass
class Spent:
    """An amount on a window's books. `counted` ends when it leaves the window."""

    at: float
    amount: int
    counted: bool = True


class RateWindow:
    """At most `limit` units in any 60 seconds.

    A sliding window rather than a bucket that refills: a bucket of a minute's size lets twice the
    limit pass in its first minute, a smaller one forbids bursts that the provider allows.
    """

    def __init__(self, limit: int, *, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._books: deque[Spent] = deque()
        self._total = 0

    def wait_s(self, amount: int) -> float:
        """Seconds until `amount` fits; 0 = now. More than the limit fits into an empty window."""
        self._forget_old()
        excess = self._total + amount - self._limit
        wait = 0.0
        for spent in self._books:
            if excess <= 0:
                break
            wait = spent.at + WINDOW_S - self._clock()
            excess -= spent.amount
        return max(0.0, wait)

    def spend(self, amount: int) -> Spent:
        """Note `amount` units, now, whether they fit or not; the entry is for `settle`."""
        spent = Spent(self._clock(), amount)
        self._books.append(spent)
        self._total += amount
        return spent

    def settle(self, spent: Spent, amount: int) -> None:
        """Replace an estimate by the `amount` of units that it came to; nothing changes once it left the
        window."""
        if spent.counted:
            self._total += amount - spent.amount
            spent.amount = amount

    def _forget_old(self) -> None:
        now = self._clock()
        while self._books and self._books[0].at + WINDOW_S <= now:
            spent = self._books.popleft()
            spent.counted = False
            self._total -= spent.amount


@dataclass(frozen=True)
class Receipt:
    """Spending of a call, for `RateLimits.settle`."""

    tokens: Spent | None


class RateLimits:
    """rpm and tpm of one engine; None = no limit."""

    def __init__(self, *, rpm: int | None, tpm: int | None, clock: Clock) -> None:
        self._requests = None if rpm is None else RateWindow(rpm, clock=clock)
        self._tokens = None if tpm is None else RateWindow(tpm, clock=clock)

    def wait_s(self, n_tokens: int) -> float:
        """Seconds until a call of about `n_tokens` (prompt plus longest output) may be sent."""
        return max(
            self._requests.wait_s(1) if self._requests else 0.0,
            self._tokens.wait_s(n_tokens) if self._tokens else 0.0,
        )

    def spend(self, n_tokens: int) -> Receipt:
        """Note a call of about `n_tokens` (prompt plus longest output), now; the receipt is for `settle`."""
        if self._requests:
            self._requests.spend(1)
        return Receipt(self._tokens.spend(n_tokens) if self._tokens else None)

    def settle(self, receipt: Receipt, n_tokens: int) -> None:
        """The call used `n_tokens` in truth."""
        if self._tokens and receipt.tokens:
            self._tokens.settle(receipt.tokens, n_tokens)
