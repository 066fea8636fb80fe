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


def collect_seldom() -> None:
    """Exempt what exists now from cycle collection, and collect seldom from now on.

    For processes that serve: requests and rows become thousands of values that live for a moment and hold no
    cycles. By default every 700 of them make the collector walk others, in the end all that libraries
    brought, while everybody waits.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
