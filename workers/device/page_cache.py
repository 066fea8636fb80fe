"""Weights in the page cache: how much of them is there, and reading them ahead of a load."""

import ctypes
import logging
import mmap
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from workers.engine_host.memory import RESERVE_GIB, available_gib

log = logging.getLogger(__name__)

CHUNK = 8 << 20
"""Bytes that are asked for at once: so much is read before a change of mind is noticed."""
HOT_SHARE = 0.9
"""Part of the weights that must be in the page cache for a load to be warm."""
_LOWEST_BIT = bytes(byte & 1 for byte in range(256))
_MAP_FAILED = ctypes.c_void_p(-1).value


def cached_share(files: Iterable[Path]) -> float | None:
    """Part of the files' pages that are in the page cache, in [0, 1]; None = not known, or no files."""
    pages = [found for file in files if (found := resident_pages(file)) is not None]
    n_pages = sum(map(len, pages))
    return sum(map(sum, pages)) / n_pages if n_pages else None


def resident_pages(file: Path) -> bytes | None:
    """One byte for each page of a file, 1 = in the page cache; None where the system does not say, as to who
    neither owns the file nor may write it."""
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if status.st_size == 0 or not (status.st_uid == os.geteuid() or os.access(file, os.W_OK)):
            return None
        return _mincore(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def _mincore(descriptor: int, size: int) -> bytes | None:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "mincore"):
        return None
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    ]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address in (None, _MAP_FAILED):
        return None
    try:
        pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
        if libc.mincore(address, size, pages) != 0:
            return None
        return pages.raw.translate(_LOWEST_BIT)
    finally:
        libc.munmap(address, size)


class ReadAhead:
    """Reads the weights of one engine at a time into the page cache, in a thread of its own.

    Args:
        on_read: told of bytes that were not there before; in that thread.
        host_free_gib: what the system can still give; None = not known: nothing is read ahead.
    """

    def __init__(
        self,
        *,
        on_read: Callable[[str, int], None],
        host_free_gib: Callable[[], float | None] = available_gib,
    ) -> None:
        self._on_read = on_read
        self._host_free_gib = host_free_gib
        self._engine_id: str | None = None
        self._is_done = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def engine_id(self) -> str | None:
        """The engine whose weights are read, or were; None = none since the last `stop`."""
        return self._engine_id

    @property
    def done(self) -> frozenset[str]:
        """The engine, once all its weights are in the page cache."""
        engine_id = self._engine_id
        return frozenset([engine_id]) if engine_id is not None and self._is_done else frozenset()

    def begin(self, engine_id: str, files: Sequence[Path]) -> None:
        """Read these, instead of another engine's; harmless when it was begun before."""
        if self._engine_id == engine_id:
            return
        self.stop()
        self._engine_id, self._is_done, self._stop = engine_id, False, threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(engine_id, list(files), self._stop), name="muster-read-ahead", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Read no more after the present chunk; returns at once."""
        self._stop.set()
        self._engine_id, self._is_done = None, False

    def wait(self, timeout_s: float) -> bool:
        """True if nothing is being read any more; waits for it."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def _run(self, engine_id: str, files: Sequence[Path], stop: threading.Event) -> None:
        n_read, is_done = 0, bool(files)
        try:
            for file in files:
                for n in self._read(file, stop):
                    n_read += n
                    self._on_read(engine_id, n)
                    if stop.is_set() or not self._has_room():
                        is_done = False
                        return
        except OSError as error:  # the load will say so again, when it counts
            log.info("engine %s: not read ahead: %s", engine_id, error)
            is_done = False
        finally:
            log.debug("engine %s: %d bytes read ahead", engine_id, n_read)
            if not stop.is_set():
                self._is_done = is_done

    def _has_room(self) -> bool:
        free_gib = self._host_free_gib()
        return free_gib is not None and free_gib > RESERVE_GIB

    def _read(self, file: Path, stop: threading.Event) -> Iterable[int]:
        """Bytes of each chunk that were not in the page cache, and are now."""
        if stop.is_set() or not self._has_room():
            yield 0
            return
        pages = resident_pages(file)
        descriptor = os.open(file, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            for start in range(0, size, CHUNK):
                n = min(CHUNK, size - start)
                first, last = start // mmap.PAGESIZE, -(-(start + n) // mmap.PAGESIZE)
                missing = n if pages is None else pages[first:last].count(0) * mmap.PAGESIZE
                if missing:
                    os.posix_fadvise(descriptor, start, n, os.POSIX_FADV_WILLNEED)
                    # Whoever reads of a page waits for it: when this ends, nothing more is on its way.
                    for page in range(first, last):
                        if pages is None or not pages[page]:
                            os.pread(descriptor, 1, page * mmap.PAGESIZE)
                    yield min(missing, n)
        finally:
            os.close(descriptor)


def advice_is_obeyed() -> bool:
    """True where the system takes advice on files."""
    return hasattr(os, "posix_fadvise")
