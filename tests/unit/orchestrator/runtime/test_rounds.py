"""Rounds: again and again, whatever one of them ends in, until they are stopped."""

import threading
from collections.abc import Callable

import pytest

from orchestrator.errors import StoreUnavailableError
from orchestrator.runtime.rounds import Rounds

WAIT_S = 60.0


def counted(n: int, work: Callable[[int], bool | None]) -> tuple[Rounds, threading.Event]:
    """Rounds, and what is set after n of them."""
    done, seen = threading.Event(), [0]

    def one() -> bool | None:
        seen[0] += 1
        if seen[0] == n:
            done.set()
        return work(seen[0])

    return Rounds("test-rounds", one, every_s=0.001), done


@pytest.mark.parametrize("error", [StoreUnavailableError("away."), ValueError("a bug"), MemoryError()])
def test_a_round_that_fails_is_not_the_last(error: Exception) -> None:
    def work(n: int) -> None:
        if n < 3:
            raise error

    rounds, done = counted(4, work)
    rounds.start()
    assert done.wait(WAIT_S)
    rounds.stop()


def test_where_there_is_more_to_do_the_next_round_begins_at_once() -> None:
    done = threading.Event()
    left = [3, 2, 1, 0]
    rounds = Rounds("test-rounds", lambda: bool(left.pop(0)) or done.set(), every_s=0.001)
    rounds.start()
    assert done.wait(WAIT_S)
    rounds.stop()
    assert left == []


def test_stopping_twice_and_before_the_start_is_harmless() -> None:
    rounds, _ = counted(1, lambda _: None)
    rounds.stop()
    rounds.start()
    rounds.start()
    rounds.stop()
    rounds.stop()


def test_a_round_in_the_callers_thread_says_whether_there_is_more() -> None:
    assert Rounds("test-rounds", lambda: True, every_s=1).round()
    assert not Rounds("test-rounds", lambda: None, every_s=1).round()
