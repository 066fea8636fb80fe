import threading

from orchestrator.errors import StoreUnavailableError
from workers.device.pulse import Pulse


class Heart:
    """Counts beats; the first ones fail as told."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.n_beats = 0
        self.has_beaten_thrice = threading.Event()

    def __call__(self) -> None:
        self.n_beats += 1
        if self.n_beats >= 3:
            self.has_beaten_thrice.set()
        if self._failures:
            raise self._failures.pop(0)


def test_it_beats_until_the_block_ends_and_may_begin_again() -> None:
    heart = Heart()
    pulse = Pulse(heart, every_s=0.001)
    with pulse:
        assert heart.has_beaten_thrice.wait(60)
    n_beats = heart.n_beats
    assert "muster-pulse" not in {thread.name for thread in threading.enumerate()}
    heart.has_beaten_thrice.clear()
    with pulse:
        assert heart.has_beaten_thrice.wait(60)
    assert heart.n_beats > n_beats


def test_a_beat_that_fails_is_not_the_last() -> None:
    heart = Heart(StoreUnavailableError("the database is away."), RuntimeError("a bug"))
    with Pulse(heart, every_s=0.001):
        assert heart.has_beaten_thrice.wait(60)
