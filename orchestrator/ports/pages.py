"""Pages of what is stored, in the order in which it was."""

from typing import Protocol

from orchestrator.domain.assignments import JobProgress, Turns
from orchestrator.domain.merges import MergeJob
from orchestrator.domain.pages import Page, PageRequest
from orchestrator.ports.jobs import AnsweredQuery


class PageReader(Protocol):
    """Reads page by page; a page costs the same wherever it is."""

    def job_page(
        self, request: PageRequest, *, owner: str | None = None, kind: str | None = None
    ) -> Page[JobProgress]:
        """Jobs in the order of submission. `owner`: whose; None = everybody's; `kind`: None = of every kind.

        Raises:
            InputError: there is no such job to begin after.
        """

    def has_left(self, job_id: str, *, owner: str | None = None) -> bool:
        """True if such a job was deleted, for a day at least. `owner`: whose; None = anybody's."""

    def some_answers(self, job_id: str, *, limit: int, failed: bool = False) -> list[AnsweredQuery]:
        """The first answered questions of a job, in the order of submission; `failed`: of those that failed.

        Raises:
            NotFoundError: no such job.
        """

    def turns(self, job_id: str) -> Turns:
        """Jobs that take turns with a job; what that costs does not grow with their questions.

        Raises:
            NotFoundError: no such job.
        """

    def merge_page(self, request: PageRequest) -> Page[MergeJob]:
        """Merges in the order in which they were asked for.

        Raises:
            InputError: there is no such merge to begin after.
        """
