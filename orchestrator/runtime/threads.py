"""Threads of numeric libraries: how many compute, and how they wait for each other."""

import os
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import NamedTuple

WAIT_POLICY = "OMP_WAIT_POLICY"


class Threaded(NamedTuple):
    """The functions of `torch` that read and set its threads. A number holds for the calling thread, and for
    threads that compute for the first time."""

    get_num_threads: Callable[[], int]
    set_num_threads: Callable[[int], None]


_ASKING = threading.Lock()
_OWN: dict[Threaded, int] = {}


@contextmanager
def one_thread() -> Iterator[None]:
    """For fitting: matrices are small enough for one thread, and beside busy engines a second one of OpenBLAS
    or OpenMP is waited for at every step, which made a fit nine times as slow.

    As a decorator, too. Libraries that are imported inside are not covered, scipy's are.
    """
    import scipy.linalg  # noqa: F401  (it brings a BLAS of its own)
    from threadpoolctl import ThreadpoolController

    with ThreadpoolController().limit(limits=1):
        yield


def wait_passively(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads of OpenMP sleep while they wait for each other, unless the environment says otherwise.

    To be called before the first numeric library is imported. By default they spin, which beside a busy
    core costs ten times the processor time of the work itself (docs/results/foundation.md).
    """
    environment.setdefault(WAIT_POLICY, "PASSIVE")


def own_threads(library: Threaded) -> int:
    """Threads that the library chose before anybody here set a number."""
    with _ASKING:
        return _OWN.setdefault(library, library.get_num_threads())


def set_threads(library: Threaded, n: int) -> None:
    """Compute with `n` threads, >= 1, in the calling thread from now on."""
    own_threads(library)
    if library.get_num_threads() != n:  # setting makes threads anew
        library.set_num_threads(n)


@contextmanager
def threads_of(library: Threaded, n: int) -> Iterator[None]:
    """Compute with `n` threads, >= 1, inside."""
    own_threads(library)
    before = library.get_num_threads()
    set_threads(library, n)
    try:
        yield
    finally:
        set_threads(library, before)
