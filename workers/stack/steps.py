"""Steps of the stack: ready queries through their compositions in short slices, on a bell or by looking."""

import logging
import threading
from collections.abc import Callable, Collection
from typing import NamedTuple

from orchestrator.errors import StoreUnavailableError
from orchestrator.ports.clock import Clock
from workers.leases.advancing import Advancer

log = logging.getLogger(__name__)

SLICE_S = 2.0
LOOK_S = 2.0
BACKOFF_S = (1.0, 2.0, 5.0, 10.0)
FEW = 0.5
"""Share of a chunk; one that found less has left little behind."""


class Chunks(NamedTuple):
    """Queries per chunk, from `low` to `high`; `within_s`: an interactive question waits no longer for a
    chunk under way."""

    low: int = 32
    high: int = 1024
    within_s: float = 0.4

    def next(self, limit: int, *, n_taken: int, took_s: float) -> int:
        """Twice as many while that stays in time, half when it did not."""
        if took_s > self.within_s:
            return max(self.low, limit // 2)
        fits = n_taken == limit and 2 * took_s <= self.within_s
        return min(self.high, 2 * limit) if fits else limit


CHUNKS = Chunks()
BATCH_CHUNKS = Chunks(within_s=2.0)
"""Of batches where questions have steps of their own, and wait for no chunk. On a busy machine chunks that
had to be quick would be small, and what one costs, whatever its size, would be shared by few queries."""


class Steps:
    """Takes steps for one process, one slice at a time whoever asks.

    Args:
        refresh: called before each slice, e.g. to read cards anew.
        on_asked: new work is on the books.
        on_moved: these jobs have new answers; called when a chunk of steps is stored.
        slice_s: a slice ends with the chunk during which this time is up.
        look_s: the books are looked at when no bell rang for so long.
        rest_s: between two looks, however often the bell rings, and after a chunk that found little: what
            comes meanwhile is stepped together, as a chunk costs some milliseconds whatever its size.
        chunks: how many queries are stepped at once.
    """

    def __init__(
        self,
        advancer: Advancer,
        *,
        refresh: Callable[[], None],
        on_asked: Callable[[], None],
        on_moved: Callable[[Collection[str]], None],
        clock: Clock,
        slice_s: float = SLICE_S,
        look_s: float = LOOK_S,
        rest_s: float = 0.0,
        chunks: Chunks = CHUNKS,
    ) -> None:
        self._advancer = advancer
        self._refresh = refresh
        self._on_asked = on_asked
        self._on_moved = on_moved
        self._clock = clock
        self._slice_s = slice_s
        self._look_s = look_s
        self._rest_s = rest_s
        self._stepping = threading.Lock()
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._looked_at = clock()
        self._chunks = chunks
        self._limit = chunks.low
        self._thread: threading.Thread | None = None

    def slice(self) -> bool:
        """Take steps for `slice_s`; whether more may be ready.

        Raises:
            StoreUnavailableError: nothing is lost; try again later.
        """
        with self._stepping:
            until = self._clock() + self._slice_s
            self._refresh()
            more = True
            while more and self._clock() < until and not self._stopping.is_set():
                more = self._chunk()
            self._looked_at = self._clock()
            return more

    def wake(self) -> None:
        """Look at the books at once, in the thread of `start`."""
        self._bell.set()

    def start(self) -> None:
        """Look at the books in a thread of its own whenever woken, and when no bell rang for `look_s`."""
        self._thread = threading.Thread(target=self._serve, name="muster-steps", daemon=True)
        self._thread.start()

    def stop(self, *, timeout_s: float) -> None:
        """End after the chunk under way; idempotent."""
        self._stopping.set()
        self._bell.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _chunk(self) -> bool:
        """Step one chunk; whether to look for more at once."""
        began, limit = self._clock(), self._limit
        done = self._advancer.chunk(limit)
        self._limit = self._chunks.next(limit, n_taken=done.n_taken, took_s=self._clock() - began)
        if done.n_asked:
            self._on_asked()
        if done.n_steps and done.job_ids:
            self._on_moved(done.job_ids)
        if done and self._rest_s and done.n_taken < limit * FEW:
            self._bell.set()  # after a rest
            return False
        return bool(done)

    def _serve(self) -> None:
        n_failures = 0
        while not self._stopping.is_set():
            rang = self._bell.wait(max(0.0, self._looked_at + self._look_s - self._clock()))
            self._stopping.wait(min(self._rest_s, max(0.0, self._looked_at + self._rest_s - self._clock())))
            self._bell.clear()
            if not rang and self._clock() < self._looked_at + self._look_s:
                continue  # a bell was answered meanwhile
            try:
                while self.slice() and not self._stopping.is_set():
                    pass
                n_failures = 0
            except StoreUnavailableError as error:
                n_failures += 1
                self._pause(n_failures, "the database is away: %s", error)
            except Exception as error:  # the process outlives whatever happens here
                n_failures += 1
                log.exception("steps failed; starting over")
                self._pause(n_failures, "steps failed: %s", error)

    def _pause(self, n_failures: int, text: str, error: Exception) -> None:
        delay_s = BACKOFF_S[min(n_failures, len(BACKOFF_S)) - 1]
        log.warning(text + "; trying again in %g s", error, delay_s)
        self._stopping.wait(delay_s)
