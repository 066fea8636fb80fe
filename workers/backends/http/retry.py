"""The one retry layer: transient failures only, full jitter, within a total deadline.

Everything below it (httpx, litellm, the provider's SDK) is told not to retry.
"""

import random

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_any,
    stop_before_delay,
)

from workers.backends.http.failures import CallError

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 20.0


def backoff_s(n_failed: int, *, retry_after_s: float | None, rng: random.Random) -> float:
    """Seconds until the next attempt: full jitter over a ceiling that doubles, after any `Retry-After`.

    Args:
        n_failed: attempts so far, >= 1.
        retry_after_s: as the endpoint asked; None = it did not.
    """
    ceiling = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** (n_failed - 1))
    if retry_after_s is not None:
        return retry_after_s + rng.uniform(0, FIRST_BACKOFF_S)
    return rng.uniform(0, ceiling)


def retrying(*, retries: int, deadline_s: float, rng: random.Random) -> AsyncRetrying:
    """Retries a coroutine function up to `retries` times; an attempt that would start after
    `deadline_s` is not waited for. The last error is raised as it is."""

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        retry_after_s = error.retry_after_s if isinstance(error, CallError) else None
        return backoff_s(state.attempt_number, retry_after_s=retry_after_s, rng=rng)

    return AsyncRetrying(
        stop=stop_any(stop_after_attempt(retries + 1), stop_before_delay(deadline_s)),
        wait=wait,
        retry=retry_if_exception(_is_transient),
        reraise=True,
    )


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, CallError) and error.transient
