"""Bells: what counts as one, and how they are rung when the broker is away."""

import threading
from collections.abc import Mapping

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from orchestrator.errors import ConfigError
from orchestrator.settings.members import LitellmParams, Member
from orchestrator.settings.schema import MusterSettings, SchedulerSettings, Settings
from workers.stack.bells import ADVANCE, WORK, Bells, MalformedBellError, payload, read_payload
from workers.stack.celery_app import FAIL_FAST, make_celery

MEMBER = Member(model_name="m", litellm_params=LitellmParams(model="/w"))


def settings(broker_url: str | None) -> Settings:
    return Settings(model_list=(MEMBER,), muster=MusterSettings(broker_url=broker_url))


class Recorder(Celery):
    """Takes messages, or is away for the first `n_failures` of them."""

    def __init__(self, n_failures: int = 0) -> None:
        super().__init__("test", set_as_current=False)
        self.sent: list[str] = []
        self.tried = 0
        self.got = threading.Condition()
        self._n_failures = n_failures

    def send_task(self, name: str, args: object = None, **_: object) -> None:  # type: ignore[override]
        with self.got:
            self.tried += 1
            if self.tried <= self._n_failures:
                raise OperationalError("away")
            assert args == [payload()]
            self.sent.append(name)
            self.got.notify_all()


def test_a_payload_is_read_back() -> None:
    assert read_payload((payload(),), {}) == {"v": 1}


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        (({"v": 1}, 2), {}),
        (({"v": 1},), {"more": 1}),
        ((), {"v": 1}),
        (({"v": 0},), {}),
        (({"v": 2},), {}),
        (({"v": True},), {}),
        (({"v": "1"},), {}),
        (({},), {}),
        ((None,), {}),
        (("x" * 10_000,), {}),
    ],
)
def test_what_is_no_bell_of_this_version_is_malformed(
    args: tuple[object, ...], kwargs: Mapping[str, object]
) -> None:
    with pytest.raises(MalformedBellError):
        read_payload(args, kwargs)


def test_ringing_does_not_wait_and_the_bell_goes_out() -> None:
    celery = Recorder()
    bells = Bells(celery)
    bells.ring(ADVANCE)
    bells.ring(WORK)
    with celery.got:
        assert celery.got.wait_for(lambda: set(celery.sent) == {ADVANCE, WORK}, timeout=30)
    bells.close()


def test_of_many_that_are_rung_in_a_moment_the_first_is_sent_at_once_and_the_others_as_one() -> None:
    celery = Recorder()
    bells = Bells(celery, clock=lambda: 0.0)  # the moment does not pass
    bells.ring(WORK)
    with celery.got:
        assert celery.got.wait_for(lambda: celery.sent == [WORK], timeout=30)
    for _ in range(100):
        bells.ring(WORK)
    bells.close(timeout_s=30)
    assert celery.sent == [WORK, WORK]


def test_a_bell_that_could_not_be_sent_is_sent_later() -> None:
    celery = Recorder(n_failures=1)
    bells = Bells(celery)
    bells.ring(ADVANCE)
    with celery.got:
        assert celery.got.wait_for(lambda: celery.sent == [ADVANCE], timeout=30)
    bells.close()


def test_closing_does_not_wait_for_a_broker_that_is_away() -> None:
    celery = Recorder(n_failures=10**9)
    bells = Bells(celery)
    bells.ring(ADVANCE)
    bells.close(timeout_s=30)
    bells.ring(ADVANCE)  # too late; it is no error
    assert celery.sent == []


def test_sending_says_whether_the_broker_took_it() -> None:
    assert Bells(Recorder()).send(ADVANCE) is True
    assert Bells(Recorder(n_failures=1)).send(ADVANCE) is False


def test_messages_are_json_acknowledged_late_one_at_a_time_and_leave_no_results() -> None:
    conf = make_celery(settings("redis://127.0.0.1:1/0")).conf
    assert (conf.accept_content, conf.task_serializer) == (["json"], "json")
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost) == (True, True)
    assert (conf.worker_prefetch_multiplier, conf.result_backend) == (1, None)


def test_redis_is_told_to_ring_again_soon_but_not_within_two_leases() -> None:
    options = make_celery(settings("redis://127.0.0.1:1/0")).conf.broker_transport_options
    assert options["visibility_timeout"] > 2 * SchedulerSettings().lease_s
    assert options["unacked_restore_interval"] * options["unacked_restore_throttle"] <= 15
    assert make_celery(settings("amqp://127.0.0.1:1//")).conf.broker_transport_options == FAIL_FAST


def test_the_options_are_those_that_the_installed_transport_reads() -> None:
    from kombu.transport.redis import Channel

    options = make_celery(settings("redis://127.0.0.1:1/0")).conf.broker_transport_options
    assert set(options) - set(FAIL_FAST) <= set(Channel.from_transport_options)


@pytest.mark.parametrize("url", [None, "sqs://", "memory://", "127.0.0.1:6379"])
def test_a_missing_or_strange_broker_is_refused(url: str | None) -> None:
    with pytest.raises(ConfigError):
        make_celery(settings(url))
