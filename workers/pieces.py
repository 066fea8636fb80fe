"""Pieces of answers: cut where they are written, spread to whoever reads along. Lossy on purpose."""

import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from orchestrator.domain.assignments import Assignment
from orchestrator.ports.clock import Clock
from orchestrator.ports.dispatch import Piece

OnText = Callable[[str], None]
"""Gets new text of one unfinished response."""

Writers = Callable[[Assignment], OnText | None]
"""Asked when an assignment starts; None = nobody reads along."""

Settled = Callable[[], Callable[[str], str]]
"""Made for each response: given its pieces one by one, what each adds to the beginning of the answer that is
certain by then."""


def as_it_is() -> Callable[[str], str]:
    """The answer is the response."""
    return str


OnPiece = Callable[[Piece], None]


class Heard(NamedTuple):
    """`moved`: the job may have ended."""

    moved: bool
    pieces: tuple[Piece, ...]


class Watch:
    """News that one waiter hears of one job; told from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._moved = False
        self._pieces: list[Piece] = []

    def move(self) -> None:
        """The job has new answers, or has ended: whoever waits here looks."""
        with self._changed:
            self._moved = True
            self._changed.notify_all()

    def add(self, piece: Piece) -> None:
        with self._changed:
            self._pieces.append(piece)
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> Heard:
        """Pieces told since the last call; at once if there is any, else within `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._moved or self._pieces, timeout_s)
            heard = Heard(self._moved, tuple(self._pieces))
            self._moved, self._pieces = False, []
        return heard


class Watches:
    """The waiters of one process."""

    def __init__(self) -> None:
        self._by_job: dict[str, list[Watch]] = defaultdict(list)
        self._lock = threading.Lock()

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Watch]:
        watch = Watch()
        with self._lock:
            self._by_job[job_id].append(watch)
        try:
            yield watch
        finally:
            with self._lock:
                self._by_job[job_id].remove(watch)
                if not self._by_job[job_id]:
                    del self._by_job[job_id]

    def move(self, job_ids: Collection[str] | None) -> None:
        """These jobs moved; None = perhaps all of them."""
        for watch in self._of(job_ids):
            watch.move()

    def add(self, piece: Piece) -> None:
        for watch in self._of([piece.job_id]):
            watch.add(piece)

    def _of(self, job_ids: Collection[str] | None) -> list[Watch]:
        with self._lock:
            names = list(self._by_job) if job_ids is None else job_ids
            return [watch for name in names for watch in self._by_job.get(name, ())]


def follow(
    watch: Watch,
    *,
    has_ended: Callable[[], bool],
    pause_s: Callable[[], float],
    until: float,
    clock: Clock,
) -> Iterator[tuple[Piece, ...]]:
    """Pieces told of a job until it has ended, or `until` by `clock`.

    The end is asked for when the job moved and when nothing was told for `pause_s`, not for each piece.
    """
    while not has_ended() and clock() < until:
        heard = watch.wait(min(pause_s(), until - clock()))
        yield heard.pieces
        while heard.pieces and not heard.moved and (left_s := until - clock()) > 0:
            heard = watch.wait(min(pause_s(), left_s))
            yield heard.pieces
    yield watch.wait(0.0).pieces


def writers(settled: Settled, on_piece: OnPiece) -> Writers:
    """Tells of the responses that somebody reads along with."""

    def writer(assignment: Assignment) -> OnText | None:
        sampling = assignment.call.sampling
        told = as_it_is if sampling.raw else settled
        return _Writer(assignment.job_id, told, on_piece) if sampling.stream else None

    return writer


class _Writer:
    """One run of one call."""

    def __init__(self, job_id: str, settled: Settled, on_piece: OnPiece) -> None:
        self._job_id = job_id
        self._id = uuid.uuid4().hex
        self._settle = settled()
        self._on_piece = on_piece
        self._n_told = 0

    def __call__(self, text: str) -> None:
        words = self._settle(text)
        if words:
            self._on_piece(Piece(self._job_id, self._id, self._n_told, words))
            self._n_told += len(words)
