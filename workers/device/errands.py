"""Work that may take minutes, beside a loop that must not wait for it."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Errands:
    """Runs one piece of work after the other, each in a thread that does not keep the process alive.

    (The standard pool's threads would: a process that is told to stop in the middle of a load would
    finish the load first.)
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._last: Future[Any] | None = None

    def run(self, work: Callable[[], T]) -> "Future[T]":
        """Begin as soon as all earlier work has ended; returns at once."""
        future: Future[T] = Future()
        Thread(target=_run, args=(work, future, self._last), name=self._name, daemon=True).start()
        self._last = future
        return future

    def wait(self, timeout_s: float) -> bool:
        """True if everything has ended; waits for it."""
        return self._last is None or not wait([self._last], timeout_s).not_done


def _run(work: Callable[[], T], future: "Future[T]", previous: "Future[Any] | None") -> None:
    if previous is not None:
        wait([previous])
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
