"""Waiting for a state of the outside world, with a bound."""

import time
from collections.abc import Callable
from typing import TypeVar

LOOK_S = 0.02

T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], *, within_s: float, every_s: float = LOOK_S) -> T:
    """The first true value that `look` returns.

    Raises:
        TimeoutError: none within `within_s`; says what was waited for and seen last.
    """
    until = time.monotonic() + within_s
    while not (seen := look()):
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {within_s:g} s (last seen: {seen!r})")
        time.sleep(every_s)
    return seen


def becomes_true(look: Callable[[], object], *, within_s: float, every_s: float = LOOK_S) -> bool:
    try:
        wait_for("", look, within_s=within_s, every_s=every_s)
    except TimeoutError:
        return False
    return True


def let_pass(seconds: float) -> None:
    """Part of an injection: how long something lasts. Nothing is waited for."""
    time.sleep(max(0.0, seconds))
