"""A circuit breaker: an endpoint that is down, or asks for a rest, is left alone for a while.

Closed: calls pass. After more than `allowed_fails` outages in a row it opens for `cooldown_s`; what
waits then waits on. The first call after that is a probe: if it succeeds, all is well again; if it
fails, whatever waits fails with it, and so does every new call until the next probe succeeds. A short
outage thus costs no answers, a long one does not hold up a batch. A credential that was refused fails
calls at once. `Retry-After` opens it for just that long.
"""

from typing import NamedTuple

from orchestrator.errors import ExpertUnavailableError
from orchestrator.ports.clock import Clock
from workers.backends.http.failures import RATE_LIMITED, CallError


class Go(NamedTuple):
    """A call may start; `enter` says that it does."""


class Wait(NamedTuple):
    """Ask again after `seconds`, or, if None, when a call has ended."""

    seconds: float | None


class Refuse(NamedTuple):
    """The call has failed already."""

    error: CallError


Verdict = Go | Wait | Refuse


class Breaker:
    """Times in seconds by `clock`.

    Args:
        allowed_fails: outages in a row that change nothing, >= 0.
        cooldown_s: rest after more of them.
        patience_s: a longer rest that the endpoint asks for fails calls instead of holding them.
    """

    def __init__(self, *, allowed_fails: int, cooldown_s: float, patience_s: float, clock: Clock) -> None:
        self._allowed_fails = allowed_fails
        self._cooldown_s = cooldown_s
        self._patience_s = patience_s
        self._clock = clock
        self._n_fails = 0
        self._open_until: float | None = None
        self._refuse_with: CallError | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """True from the outage that opened it until a call succeeds, also while a probe is under way."""
        return self._open_until is not None

    def verdict(self) -> Verdict:
        """Permission for a call now."""
        if self._open_until is None:
            return Go()
        rest_s = self._open_until - self._clock()
        if rest_s <= 0 and not self._probing:
            return Go()
        if self._refuse_with is not None:
            return Refuse(self._refuse_with)
        return Wait(rest_s if rest_s > 0 else None)

    def enter(self) -> bool:
        """A call starts after `Go`; returns whether it is the probe."""
        self._probing = self._open_until is not None
        return self._probing

    def leave(self, *, probe: bool) -> None:
        """A call was given up on our side: that says nothing about the endpoint."""
        if probe:
            self._probing = False

    def succeed(self) -> None:
        """The endpoint answered: whatever was wrong is over."""
        self._n_fails = 0
        self._close()

    def fail(self, error: CallError, *, probe: bool) -> None:
        """A call ended in `error`. One that was started before the breaker opened changes nothing."""
        if self.is_open and not probe:
            return
        rest_s = error.retry_after_s or 0.0
        self._n_fails += error.outage
        if error.lasting:
            self._open(self._cooldown_s, error, hopeless=True)
        elif error.outage and self._n_fails > self._allowed_fails:
            hopeless = self._n_fails > self._allowed_fails + 1 or rest_s > self._patience_s
            self._open(max(rest_s, self._cooldown_s), error, hopeless=hopeless)
        elif rest_s > 0:
            self._open(rest_s, error, hopeless=rest_s > self._patience_s)
        elif error.outage:
            self._close()
        else:
            self.succeed()

    def _open(self, seconds: float, error: CallError, *, hopeless: bool) -> None:
        self._open_until = self._clock() + seconds
        self._refuse_with = _refusal(error) if hopeless else None
        self._probing = False

    def _close(self) -> None:
        self._open_until = None
        self._refuse_with = None
        self._probing = False


def _refusal(error: CallError) -> CallError:
    code = error.code if error.lasting or error.code == RATE_LIMITED else ExpertUnavailableError.code
    return CallError(
        f"not asked, because the last call failed: {error}",
        code=code,
        outage=not error.lasting,
        away=not error.lasting,
        lasting=error.lasting,
        retry_after_s=error.retry_after_s,
    )
