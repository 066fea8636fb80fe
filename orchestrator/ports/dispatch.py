"""Dispatching: who gets submitted jobs done, and how an answer is heard while it is written."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from orchestrator.domain.assignments import (
    JobProgress,
    LoadPlan,
)


class Piece(NamedTuple):
    """Text of an answer that is being written, told to whoever reads along; any piece may be lost.

    `writer` is unique to one run of one call: an attempt that starts over has another. `at`: how many
    characters of the answer come before, by the same writer.
    """

    job_id: str
    writer: str
    at: int
    text: str


class Excerpt(NamedTuple):
    """Words of a call of a job that is followed, so far; any may be lost, as the next says the same and more.

    `call`: id of its assignment. `n_chars`: characters that were written so far; `text`: the last of them.
    """

    job_id: str
    call: int
    expert_id: str
    role: str
    n_chars: int
    text: str


Told = Piece | Excerpt
"""Of a job, while it is worked on."""


class Dispatcher(Protocol):
    """Gets submitted jobs done: embedded, a loop of this process; in the stack, the workers."""

    def notify(self) -> None:
        """Say that work was put on the books. Returns at once and never fails: it only saves time."""

    def run(self, job_id: str, *, on_progress: Callable[[JobProgress], None] | None = None) -> JobProgress:
        """Block until every query of the job is answered or failed, or the job is cancelled."""

    def wait(self, job_id: str, *, timeout_s: float) -> JobProgress:
        """Block until the job ends or the time is up; others may do the work."""

    def expect(self, job_id: str, *, timeout_s: float) -> AbstractContextManager[Iterator[None]]:
        """Wait from now on for the end of a job that is yet to be submitted.

        The iterator, which is asked once the job is submitted, gives a turn whenever the job may have ended:
        whoever waits looks for himself. It ends, after a last turn, when the job has ended or the time is up.
        """

    def listen(self, job_id: str, *, timeout_s: float) -> AbstractContextManager[Iterator[Sequence[Told]]]:
        """Hear from now on what is told of a job's answer, and of its calls, if it is followed; `wait` as an
        iterator.

        The iterator is asked once the job is submitted. It ends when the job has ended or the time is up;
        while nothing is told it yields an empty sequence about every second.
        """

    def dismiss(self) -> None:
        """This process is about to end: from now on nobody waits here. Whoever does, in `expect` or `listen`,
        has a last turn at once; if that does not show the end of his job, StoppingError is raised to him."""

    def plan(self, *, later: frozenset[str]) -> LoadPlan:
        """Loads and seconds left of all waiting work, as far as this process knows the devices.

        Args:
            later: engines that a later stage will need.
        """

    def unload(self) -> None:
        """Free the devices of this process, so that a measurement starts with nothing resident."""
