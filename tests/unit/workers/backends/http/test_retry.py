import asyncio
import random

import pytest

from workers.backends.http.failures import CallError
from workers.backends.http.retry import LONGEST_BACKOFF_S, backoff_s, retrying


class Upper(random.Random):
    """Draws the upper end of every range."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_the_ceiling_doubles_up_to_a_limit() -> None:
    ceilings = [backoff_s(n, retry_after_s=None, rng=Upper()) for n in (1, 2, 3, 4, 20)]
    assert ceilings == [0.5, 1, 2, 4, LONGEST_BACKOFF_S]


def test_jitter_is_full() -> None:
    rng = random.Random(0)
    drawn = [backoff_s(3, retry_after_s=None, rng=rng) for _ in range(1000)]
    assert min(drawn) < 0.1
    assert 1.9 < max(drawn) <= 2


def test_retry_after_is_a_lower_bound() -> None:
    rng = random.Random(0)
    assert all(7 <= backoff_s(1, retry_after_s=7, rng=rng) <= 7.5 for _ in range(100))


@pytest.mark.parametrize(("transient", "asked"), [(True, 3), (False, 1)])
def test_only_transient_failures_are_tried_again(transient: bool, asked: int) -> None:
    n_asked = 0

    async def fail() -> None:
        nonlocal n_asked
        n_asked += 1
        raise CallError("no", code="x", transient=transient, retry_after_s=0.0)

    class Now(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return 0.0

    with pytest.raises(CallError, match="no"):
        asyncio.run(retrying(retries=2, deadline_s=60, rng=Now())(fail))
    assert n_asked == asked


def test_a_wait_that_would_pass_the_deadline_is_not_begun() -> None:
    n_asked = 0

    async def fail() -> None:
        nonlocal n_asked
        n_asked += 1
        raise CallError("no", code="x", transient=True, retry_after_s=61)

    with pytest.raises(CallError):
        asyncio.run(retrying(retries=5, deadline_s=60, rng=random.Random(0))(fail))
    assert n_asked == 1
