import random

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.work import HandClock
from workers.backends.http.limits import WINDOW_S, RateLimits, RateWindow


def at_zero() -> HandClock:
    clock = HandClock()
    clock.now = 0
    return clock


def test_a_full_window_waits_for_its_oldest_entry() -> None:
    """Limit 2: spent at 0 s and 10 s, so the third must wait until 60 s, which is 40 s after 20 s."""
    clock = at_zero()
    window = RateWindow(2, clock=clock)
    window.spend(1)
    clock.now = 10
    window.spend(1)
    clock.now = 20
    assert window.wait_s(1) == 40
    clock.now = 60
    assert window.wait_s(1) == 0


def test_an_amount_waits_until_enough_has_left() -> None:
    """Limit 100, 60 at 0 s and 30 at 5 s: 10 fit at once, 50 when the 60 leave, 80 when both have."""
    clock = at_zero()
    window = RateWindow(100, clock=clock)
    window.spend(60)
    clock.now = 5
    window.spend(30)
    assert [window.wait_s(n) for n in (10, 50, 80)] == [0, 55, 60]


def test_more_than_the_limit_passes_an_empty_window() -> None:
    clock = at_zero()
    window = RateWindow(100, clock=clock)
    assert window.wait_s(500) == 0
    window.spend(500)
    assert window.wait_s(1) == WINDOW_S


def test_what_was_not_used_is_free_again() -> None:
    clock = at_zero()
    limits = RateLimits(rpm=None, tpm=100, clock=clock)
    receipt = limits.spend(90)
    assert limits.wait_s(50) == WINDOW_S
    limits.settle(receipt, 20)
    assert limits.wait_s(50) == 0


def test_a_settlement_after_the_window_changes_nothing() -> None:
    clock = at_zero()
    limits = RateLimits(rpm=None, tpm=100, clock=clock)
    late = limits.spend(90)
    clock.now = 60
    assert limits.wait_s(100) == 0
    limits.settle(late, 500)
    assert limits.wait_s(100) == 0


def test_both_limits_hold() -> None:
    clock = at_zero()
    limits = RateLimits(rpm=2, tpm=1000, clock=clock)
    limits.spend(900)
    assert limits.wait_s(100) == 0
    assert limits.wait_s(200) == WINDOW_S
    clock.now = 1
    limits.spend(10)
    assert limits.wait_s(10) == 59


def test_without_limits_nothing_waits() -> None:
    limits = RateLimits(rpm=None, tpm=None, clock=at_zero())
    limits.settle(limits.spend(10**9), 10**9)
    assert limits.wait_s(10**9) == 0


@given(limit=st.integers(1, 20), n=st.integers(1, 60), seed=st.integers(0, 10_000))
def test_no_minute_holds_more_than_the_limit(limit: int, n: int, seed: int) -> None:
    """Whoever waits as told never has more than `limit` calls in [t, t + 60 s)."""
    rng, clock, times = random.Random(seed), at_zero(), []
    window = RateWindow(limit, clock=clock)
    for _ in range(n):
        clock.now += rng.choice([0, 0, 1, 7])
        clock.now += window.wait_s(1)
        window.spend(1)
        times.append(clock.now)
    assert all(sum(t <= other < t + WINDOW_S for other in times) <= limit for t in times)
