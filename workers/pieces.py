"""Pieces of answers: cut where they are written, spread to whoever reads along. Lossy on purpose."""

import math
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from orchestrator.domain.assignments import Assignment
from orchestrator.ports.clock import Clock
from orchestrator.ports.dispatch import Excerpt, Piece, Told

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


OnTold = Callable[[Told], None]

EXCERPT_S = 0.25
"""How often a call says what it has written, at most."""
EXCERPT_CHARS = 600


class Heard(NamedTuple):
    """`moved`: the job may have ended."""

    moved: bool
    pieces: tuple[Told, ...]


class Watch:
    """News that one waiter hears of one job; told from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._moved = False
        self._pieces: list[Told] = []

    def move(self) -> None:
        """The job has new answers, or has ended: whoever waits here looks."""
        with self._changed:
            self._moved = True
            self._changed.notify_all()

    def add(self, piece: Told) -> None:
        """Tell a piece to whoever waits here."""
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
        """A watch of one job, until the block ends; any number may watch the same job."""
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

    def add(self, piece: Told) -> None:
        """Tell a piece to all who watch its job."""
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
) -> Iterator[tuple[Told, ...]]:
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


def writers(settled: Settled, on_told: OnTold, *, clock: Clock = time.monotonic) -> Writers:
    """Tells of the responses that somebody reads along with, or follows."""

    def writer(assignment: Assignment) -> OnText | None:
        sampling = assignment.call.sampling
        if not sampling.stream:
            return _Follower(assignment, on_told, clock) if sampling.followed else None
        written = _Writer(assignment.job_id, as_it_is if sampling.raw else settled, on_told)
        return _both(_Follower(assignment, on_told, clock), written) if sampling.followed else written

    return writer


def _both(first: OnText, second: OnText) -> OnText:
    def told(text: str) -> None:
        first(text)
        second(text)

    return told


class _Follower:
    """Tells now and then how far one run of one call has got."""

    def __init__(self, assignment: Assignment, on_told: OnTold, clock: Clock) -> None:
        self._assignment = assignment
        self._on_told = on_told
        self._clock = clock
        self._n_chars = 0
        self._end = ""
        self._told_at = -math.inf

    def __call__(self, text: str) -> None:
        self._n_chars += len(text)
        self._end = (self._end + text)[-EXCERPT_CHARS:]
        now = self._clock()
        if now - self._told_at >= EXCERPT_S:
            self._told_at = now
            job_id, call = self._assignment.job_id, self._assignment.call
            self._on_told(
                Excerpt(job_id, self._assignment.id, call.expert_id, call.role, self._n_chars, self._end)
            )


class _Writer:
    """One run of one call."""

    def __init__(self, job_id: str, settled: Settled, on_told: OnTold) -> None:
        self._job_id = job_id
        self._id = uuid.uuid4().hex
        self._settle = settled()
        self._on_told = on_told
        self._n_told = 0

    def __call__(self, text: str) -> None:
        words = self._settle(text)
        if words:
            self._on_told(Piece(self._job_id, self._id, self._n_told, words))
            self._n_told += len(words)
