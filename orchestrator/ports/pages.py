"""Pages of what is stored, in the order in which it was."""

from typing import Protocol

from orchestrator.domain.assignments import JobProgress
from orchestrator.domain.merges import MergeJob
from orchestrator.domain.pages import Page, PageRequest


class PageReader(Protocol):
    """Reads page by page; a page costs the same wherever it is."""

    def job_page(
        self, request: PageRequest, *, owner: str | None = None, kind: str | None = None
    ) -> Page[JobProgress]:
        """Jobs in the order of submission. `owner`: whose; None = everybody's; `kind`: None = of every kind.

        Raises:
            InputError: there is no such job to begin after.
        """

    def merge_page(self, request: PageRequest) -> Page[MergeJob]:
        """Merges in the order in which they were asked for.

        Raises:
            InputError: there is no such merge to begin after.
        """
