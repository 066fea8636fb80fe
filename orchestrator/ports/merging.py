"""Merges as they are stored: experts that were registered, and jobs over REST."""

from collections.abc import Callable
from typing import Protocol

from orchestrator.domain.merges import MergedExpert, MergeJob


class MergedExperts(Protocol):
    """Experts that merges made."""

    def merged_experts(self) -> list[MergedExpert]:
        """Merged experts that are registered, the oldest first."""

    def register(self, expert: MergedExpert) -> None:
        """Store an expert, in place of one of the same id."""

    def unregister(self, expert_id: str) -> bool:
        """Forget an expert; False if there is none."""


class MergeJobs(Protocol):
    """Jobs that merge."""

    def add(self, job: MergeJob, *, most_live: int) -> bool:
        """Store a new job; False if as many as `most_live` have not ended."""

    def merge_job(self, job_id: str) -> MergeJob:
        """One merge that was asked for, as it is now.

        Raises:
            NotFoundError: no such job.
        """

    def merge_jobs(self, *, limit: int) -> list[MergeJob]:
        """Merges, the newest first."""

    def change(
        self,
        job_id: str,
        change: Callable[[MergeJob], MergeJob],
        *,
        owner: str | None,
        keeps_owner: bool = False,
        held_by: str | None = None,
    ) -> MergeJob:
        """Read, change and store a job in one transaction.

        Args:
            owner: whose it is then, unless that stays as it is.
            held_by: whose it must be before; None = anybody's.

        Raises:
            NotFoundError: no such job. StaleLeaseError: it is not theirs, or no longer.
        """

    def take(self, owner: str, *, silent_s: float) -> MergeJob | None:
        """The oldest queued job, running and ours from now on; None = there is none. Jobs whose owner was
        silent for so long are interrupted first."""
