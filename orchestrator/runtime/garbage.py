"""Python's cycle collector, kept out of the way of large batches."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_cycle_collection() -> Iterator[None]:
    """For making many values at once: they hold no cycles, but every few hundred new objects make the
    collector walk the old ones again, which is more than half of the time that ten thousand take.

    As a decorator, too.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
