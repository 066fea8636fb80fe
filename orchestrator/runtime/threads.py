"""Numeric libraries, kept to one thread."""

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """For fitting: matrices are small enough for one thread, and beside busy engines a second one of OpenBLAS
    or OpenMP is waited for at every step, which made a fit nine times as slow.

    As a decorator, too. Libraries that are imported inside are not covered, scipy's are.
    """
    import scipy.linalg  # noqa: F401  (it brings a BLAS of its own)

    with ThreadpoolController().limit(limits=1):
        yield
