"""The canary: silence counts only while the broker takes messages."""

from tests.fakes.work import HandClock
from workers.stack.canary import Canary


class Consumer:
    """Hears what is sent unless it is deaf; its broker may be away."""

    def __init__(self, clock: HandClock) -> None:
        self.heard_at = clock()
        self.deaf = self.away = False
        self._clock = clock

    def send(self) -> bool:
        if self.away:
            return False
        if not self.deaf:
            self.heard_at = self._clock()
        return True


def looks(consumer: Consumer, clock: HandClock, n: int) -> list[bool]:
    """`n` looks, ten seconds apart."""
    canary = Canary(
        send=consumer.send, heard_at=lambda: consumer.heard_at, on_silence=lambda: None, clock=clock
    )
    seen = []
    for _ in range(n):
        clock.now += 10
        seen.append(canary.look())
    return seen


def test_a_consumer_that_hears_is_well() -> None:
    clock = HandClock()
    assert looks(Consumer(clock), clock, 10) == [True] * 10


def test_a_deaf_consumer_is_found_out_after_thirty_seconds_of_messages() -> None:
    clock = HandClock()
    consumer = Consumer(clock)
    consumer.deaf = True
    assert looks(consumer, clock, 5) == [True, True, True, True, False]


def test_a_broker_that_is_away_is_no_reason_to_end() -> None:
    clock = HandClock()
    consumer = Consumer(clock)
    consumer.away = consumer.deaf = True
    assert looks(consumer, clock, 20) == [True] * 20
    consumer.away = False
    assert looks(consumer, clock, 5)[-1] is False
