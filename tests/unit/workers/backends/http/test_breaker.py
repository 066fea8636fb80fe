import pytest

from tests.fakes.work import HandClock
from workers.backends.http.breaker import Breaker, Go, Refuse, Wait
from workers.backends.http.failures import CallError, bad_response, timed_out, unreachable

DOWN = unreachable("connection refused")
GO = Go()


def breaker(clock: HandClock, *, allowed_fails: int = 1) -> Breaker:
    return Breaker(allowed_fails=allowed_fails, cooldown_s=30, patience_s=60, clock=clock)


def call_failing(tested: Breaker, error: CallError) -> None:
    assert tested.verdict() == GO
    tested.fail(error, probe=tested.enter())


def limited(retry_after_s: float | None) -> CallError:
    return CallError("slow down", code="rate_limited", transient=True, retry_after_s=retry_after_s)


def test_it_opens_after_more_outages_in_a_row_than_allowed() -> None:
    clock = HandClock()
    tested = breaker(clock, allowed_fails=1)
    call_failing(tested, DOWN)
    assert tested.verdict() == GO
    call_failing(tested, DOWN)
    assert tested.verdict() == Wait(30)
    clock.now += 12
    assert tested.verdict() == Wait(18)


def test_a_success_in_between_starts_the_count_again() -> None:
    tested = breaker(HandClock(), allowed_fails=1)
    call_failing(tested, DOWN)
    tested.enter()
    tested.succeed()
    call_failing(tested, DOWN)
    assert tested.verdict() == GO


@pytest.mark.parametrize("error", [bad_response("html"), CallError("no", code="request_refused")])
def test_answers_that_blame_the_request_do_not_open_it(error: CallError) -> None:
    tested = breaker(HandClock(), allowed_fails=0)
    for _ in range(5):
        call_failing(tested, error)
    assert tested.verdict() == GO


def test_after_the_rest_one_call_probes_while_the_others_wait() -> None:
    clock = HandClock()
    tested = breaker(clock, allowed_fails=0)
    call_failing(tested, DOWN)
    clock.now += 30
    assert tested.verdict() == GO
    assert tested.enter()
    assert tested.verdict() == Wait(None)
    tested.succeed()
    assert tested.verdict() == GO
    assert not tested.enter()


def test_a_failed_probe_fails_whatever_waits_until_one_succeeds() -> None:
    clock = HandClock()
    tested = breaker(clock, allowed_fails=0)
    call_failing(tested, DOWN)
    clock.now += 30
    call_failing(tested, timed_out("nothing came."))
    verdict = tested.verdict()
    assert isinstance(verdict, Refuse)
    assert verdict.error.code == "expert_unavailable"
    assert not verdict.error.transient
    clock.now += 30
    assert tested.verdict() == GO
    assert tested.enter()
    assert isinstance(tested.verdict(), Refuse)
    tested.succeed()
    assert tested.verdict() == GO


def test_a_probe_that_was_given_up_leaves_its_place_to_another() -> None:
    clock = HandClock()
    tested = breaker(clock, allowed_fails=0)
    call_failing(tested, DOWN)
    clock.now += 30
    tested.leave(probe=tested.enter())
    assert tested.verdict() == GO


def test_calls_that_were_under_way_do_not_lengthen_the_rest() -> None:
    clock = HandClock()
    tested = breaker(clock, allowed_fails=0)
    late = tested.enter()
    call_failing(tested, DOWN)
    clock.now += 20
    tested.fail(DOWN, probe=late)
    assert tested.verdict() == Wait(10)


def test_retry_after_is_a_rest_of_that_length() -> None:
    clock = HandClock()
    tested = breaker(clock)
    call_failing(tested, limited(7))
    assert tested.verdict() == Wait(7)
    clock.now += 7
    call_failing(tested, limited(2))
    assert tested.verdict() == Wait(2)


def test_a_rest_beyond_patience_fails_calls_at_once() -> None:
    tested = breaker(HandClock())
    call_failing(tested, limited(61))
    verdict = tested.verdict()
    assert isinstance(verdict, Refuse)
    assert verdict.error.code == "rate_limited"


def test_a_rate_limit_without_a_time_changes_nothing() -> None:
    tested = breaker(HandClock(), allowed_fails=0)
    call_failing(tested, limited(None))
    assert tested.verdict() == GO


def test_a_busy_server_that_names_its_rest_gets_as_many_chances_as_any() -> None:
    """allowed_fails 2: two short rests, then a cooldown at the third outage, hopeless at the fourth."""
    clock = HandClock()
    tested = breaker(clock, allowed_fails=2)
    busy = CallError("HTTP 503", code="expert_unavailable", transient=True, outage=True, retry_after_s=1)
    for rest_s in (1, 1, 30):
        call_failing(tested, busy)
        assert tested.verdict() == Wait(rest_s)
        clock.now += rest_s
    call_failing(tested, busy)
    assert isinstance(tested.verdict(), Refuse)


def test_refused_credentials_fail_all_calls_for_a_cooldown() -> None:
    clock = HandClock()
    tested = breaker(clock)
    call_failing(tested, CallError("HTTP 401", code="expert_misconfigured", lasting=True))
    verdict = tested.verdict()
    assert isinstance(verdict, Refuse)
    assert verdict.error.code == "expert_misconfigured"
    clock.now += 30
    assert tested.verdict() == GO
