"""Runs of profiling, as the books keep them."""

from collections.abc import Callable
from typing import Protocol

from orchestrator.domain.pages import Page, PageRequest
from orchestrator.domain.profile_runs import ProfileRun

Change = Callable[[ProfileRun], ProfileRun]


class ProfileRuns(Protocol):
    """Runs that all servers of a stack see; one at a time is live."""

    def add(self, run: ProfileRun) -> bool:
        """Store a new run; False if another is live."""

    def run(self, run_id: str) -> ProfileRun:
        """One run as it is now.

        Raises:
            NotFoundError: no such run.
        """

    def page(self, request: PageRequest) -> Page[ProfileRun]:
        """Runs in the order in which they were asked for.

        Raises:
            InputError: there is no such run to begin after.
        """

    def change(self, run_id: str, change: Change, *, alive: bool = False) -> ProfileRun:
        """Read, change and store a run in one transaction; `alive`: its process says that it lives.

        Raises:
            NotFoundError: no such run.
        """
