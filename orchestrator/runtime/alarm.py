"""An alarm: rings from any thread, and is waited for beside the engines that may have news."""

import math
import os
import select
import weakref
from collections.abc import Sequence

ONCE = b"\0"


class Alarm:
    """A flag with a file descriptor; rung several times before it is cleared, it rang once.

    Its descriptors are closed when nobody has it any more, and not before: a number that was closed may
    belong to another file by the time somebody rings.
    """

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        weakref.finalize(self, _close, self._out, self._in)

    def fileno(self) -> int:
        return self._out

    def ring(self) -> None:
        """Ring, from any thread; never waits."""
        try:
            os.write(self._in, ONCE)
        except BlockingIOError:  # rung often enough
            return

    def clear(self) -> None:
        """Forget that anybody rang so far; never waits."""
        try:
            while os.read(self._out, 4096):
                pass
        except BlockingIOError:
            return


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def wait_for_any(descriptors: Sequence[int], timeout_s: float) -> None:
    """Until one of them is readable or broken, `timeout_s` at most."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    poller.poll(math.ceil(1000 * max(0.0, timeout_s)))
