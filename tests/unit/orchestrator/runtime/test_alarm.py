"""The alarm: whoever waits for it is woken by any thread, also by one that rang before."""

import os
import select
import threading

import pytest

from orchestrator.runtime.alarm import Alarm, wait_for_any

LONG_S = 3600.0


def is_rung(alarm: Alarm) -> bool:
    return bool(select.select([alarm.fileno()], [], [], 0)[0])


@pytest.fixture
def alarm() -> Alarm:
    return Alarm()


def test_it_ends_the_wait_of_another_thread(alarm: Alarm) -> None:
    waiter = threading.Thread(target=wait_for_any, args=([alarm.fileno()], LONG_S))
    waiter.start()
    alarm.ring()
    waiter.join(60)
    assert not waiter.is_alive()


def test_one_that_rang_before_is_not_lost(alarm: Alarm) -> None:
    alarm.ring()
    wait_for_any([alarm.fileno()], LONG_S)


def test_however_often_it_rang_it_is_cleared_at_once(alarm: Alarm) -> None:
    for _ in range(100_000):  # more than a pipe holds
        alarm.ring()
    assert is_rung(alarm)
    alarm.clear()
    assert not is_rung(alarm)


def test_the_first_of_several_ends_the_wait(alarm: Alarm) -> None:
    other = Alarm()
    other.ring()
    wait_for_any([alarm.fileno(), other.fileno()], LONG_S)


def test_its_descriptors_are_closed_with_it_and_not_before() -> None:
    alarm = Alarm()
    descriptor = alarm.fileno()
    os.fstat(descriptor)
    del alarm
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
