"""Batches on the books, and the forms of their lines."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from pydantic import JsonValue

from orchestrator.domain.batches import Batch, ClaimedBatch
from orchestrator.domain.requests import AskOptions
from orchestrator.ports.jobs import AnsweredQuery


class Page(NamedTuple):
    """Part of a list: up to `limit` of an `owner`'s things (None = everybody's), after the one of id `after`;
    the newest first, or the oldest."""

    limit: int
    after: str | None = None
    owner: str | None = None
    oldest_first: bool = False


class BatchStore(Protocol):
    """Batches. What works on one claims it for a while, so that few do the same work; writes are fenced by
    the claim's attempt."""

    def add_batch(self, batch: Batch) -> Batch:
        """Store a batch; the one that is there under its id already stays as it is, and is returned.

        Raises:
            NotFoundError: its file is gone.
        """

    def batch(self, batch_id: str) -> Batch:
        """A batch, as whoever worked on it left it.

        Raises:
            NotFoundError: no such batch.
        """

    def batches(self, page: Page) -> list[Batch]:
        """One page of batches, as whoever worked on them left them.

        Raises:
            InputError: the page follows an id that is not in this list.
        """

    def change(self, batch_id: str, change: Callable[[Batch], Batch]) -> Batch:
        """Change a batch, whoever works on it; as it is then."""

    def claim_batch(self, *, for_s: float) -> ClaimedBatch | None:
        """A batch to work on that nobody has claimed: to be checked, to be cancelled, or over but not
        written. None = there is none."""

    def renew_batch(self, claimed: ClaimedBatch, *, for_s: float) -> bool:
        """Claim for longer; False = it is another's by now."""

    def settle_batch(
        self, claimed: ClaimedBatch, change: Callable[[Batch], Batch], *, files: Collection[str] = ()
    ) -> Batch | None:
        """Change a claimed batch and finish these files, together, and give the claim back; None = it is
        another's by now, and nothing was changed."""


class AnsweredJob(NamedTuple):
    """Job whose answers are told.

    Attributes:
        composition: name on the books, of queries that name none.
        created: time in answers, in seconds since 1970.
        pool: fingerprint of the pool that answers.
    """

    job_id: str
    composition: str
    created: int
    pool: str


class LineReader(Protocol):
    """Reader of the lines of one file (`questions.files.BodyReader`)."""

    def __call__(self, endpoint: str, body: dict[str, object]) -> dict[str, object]: ...

    def job_terms(self, composition: str | None = None) -> "JobTerms":
        """Terms of the job of the lines that were read: they are the job's where all agree on them.

        Args:
            composition: that answers every line; None = those that the lines name.
        """


class JobTerms(NamedTuple):
    """Terms of a job of lines.

    Attributes:
        options: the job's.
        read_body: reads the lines as its queries.
        compositions: that its queries name.
    """

    options: AskOptions
    read_body: Callable[[str, dict[str, object]], dict[str, object]]
    compositions: frozenset[str]


class LineForms(NamedTuple):
    """Forms of the lines of batches.

    Attributes:
        endpoints: that lines may name.
        reader: of a file whose lines have none of our own form; given what finds the composition of a model.
        answer_line: an answer, or how it failed, in the form of its question.
    """

    endpoints: Sequence[str]
    reader: Callable[[Callable[[str], str]], LineReader]
    answer_line: Callable[[AnsweredQuery, AnsweredJob], dict[str, JsonValue]]
