"""Silence of a server: of the time between its signs only that in which calls were with it."""

from workers.backends.http.pulse import Pulse


class Clock:
    """Shows the time that a test sets."""

    def __init__(self) -> None:
        self.now = 7.0

    def __call__(self) -> float:
        return self.now


def test_only_time_with_a_call_is_silence_and_calls_add_up() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    clock.now += 100
    assert pulse.silent_s == 0
    with pulse.call():
        clock.now += 2
        with pulse.call():  # beside the first
            clock.now += 3
        clock.now += 1
        assert pulse.silent_s == 6
    clock.now += 100
    assert pulse.silent_s == 6
    with pulse.call():
        clock.now += 4
    assert pulse.silent_s == 10


def test_sign_of_life_ends_the_silence_and_is_remembered() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    with pulse.call():
        clock.now += 5
        pulse.beat()
        assert pulse.silent_s == 0
        clock.now += 2
        assert pulse.silent_s == 2
        pulse.forget()
        assert pulse.silent_s == 0
    assert pulse.heard_at == 12


def test_call_that_fails_is_over_too() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    try:
        with pulse.call():
            clock.now += 1
            raise TimeoutError
    except TimeoutError:
        clock.now += 50
    assert pulse.silent_s == 1
