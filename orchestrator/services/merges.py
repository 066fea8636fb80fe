"""Merges over REST: asked for, looked at, cancelled, taken up again. Another thread makes them."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from orchestrator.domain.merges import LIVE_STATES, MergeJob, MergeState
from orchestrator.errors import InputError, JobRunningError, MergesClosedError, TooManyMergesError
from orchestrator.ports.merging import MergeJobs
from orchestrator.settings.schema import Settings

RESUMABLE = frozenset({MergeState.INTERRUPTED, MergeState.CANCELLED, MergeState.FAILED})
MOST_RECIPE_CHARS = 200_000


class Bounds(NamedTuple):
    """Folders of merges over REST."""

    read: tuple[Path, ...]
    write: Path


def bounds_of(settings: Settings) -> Bounds | None:
    """Folders that the configuration opens for merges over REST; None = it opens none."""
    merges = settings.muster.merges
    if not merges.read or merges.write is None:
        return None
    write = (settings.base_dir / merges.write).absolute()
    read = tuple((settings.base_dir / folder).absolute() for folder in merges.read)
    return Bounds((*read, write), write)


class MergeDesk:
    """Desk at which merges are asked for.

    Args:
        check: refuses recipes whose text cannot be used or whose paths lead out of the folders given.
        has_profile: whether there are questions to measure on.
        now_s: seconds since 1970.
    """

    def __init__(
        self,
        *,
        jobs: MergeJobs,
        bounds: Bounds | None,
        check: Callable[[str, tuple[Path, ...]], object],
        has_profile: bool,
        most_live: int,
        now_s: Callable[[], float],
    ) -> None:
        self._jobs = jobs
        self._bounds = bounds
        self._check = check
        self._has_profile = has_profile
        self._most_live = most_live
        self._now_s = now_s

    def submit(
        self, recipe: str, out: str, *, seed: int | None = None, profile: bool = True, force: bool = False
    ) -> MergeJob:
        """Store a merge that is to be made.

        Args:
            recipe: YAML or JSON text.
            out: name of the result's folder.

        Raises:
            MergesClosedError: the configuration allows none. TooManyMergesError: enough wait already.
            InputError, ConfigError: a recipe that cannot be used, or leads elsewhere.
        """
        bounds = self._open()
        if len(recipe) > MOST_RECIPE_CHARS:
            raise InputError(f"the recipe is longer than {MOST_RECIPE_CHARS} characters.", param="recipe")
        if profile and not self._has_profile:
            raise InputError(
                "there are no questions to measure a merge on.",
                param="profile",
                remedy="Set muster.profile_set, or ask for `profile: false`.",
            )
        self._check(recipe, bounds.read)
        job = MergeJob(
            id=f"merge-{uuid.uuid4().hex}",
            recipe=recipe,
            out=out,
            seed=seed,
            profile=profile,
            force=force,
            created_at=self._now_s(),
        )
        if not self._jobs.add(job, most_live=self._most_live):
            raise TooManyMergesError(f"{self._most_live} merges wait or run already.", remedy="Wait for one.")
        return job

    def job(self, job_id: str) -> MergeJob:
        """One merge that was asked for, as it is now.

        Raises:
            NotFoundError: no such merge.
        """
        return self._jobs.merge_job(job_id)

    def jobs(self, *, limit: int) -> list[MergeJob]:
        """Merges, the newest first."""
        return self._jobs.merge_jobs(limit=limit)

    def cancel(self, job_id: str) -> MergeJob:
        """End a merge; one that has ended stays as it is.

        Raises:
            NotFoundError: no such merge.
        """
        return self._jobs.change(job_id, _cancelled, owner=None, keeps_owner=True)

    def resume(self, job_id: str) -> MergeJob:
        """Take a merge up that was interrupted, cancelled, or failed; what was done is not done again.

        Raises:
            NotFoundError: no such merge. JobRunningError: it has not ended. InputError: it was completed.
        """
        self._open()
        return self._jobs.change(job_id, _resumed, owner=None)

    def _open(self) -> Bounds:
        if self._bounds is None:
            raise MergesClosedError(
                "merges over REST are off.", remedy="Set muster.merges.read and muster.merges.write."
            )
        return self._bounds


def _cancelled(job: MergeJob) -> MergeJob:
    if job.state is MergeState.RUNNING:
        return job.replaced(state=MergeState.CANCELLING)
    return job.replaced(state=MergeState.CANCELLED) if job.state is MergeState.QUEUED else job


def _resumed(job: MergeJob) -> MergeJob:
    if job.state in LIVE_STATES:
        raise JobRunningError(f"merge '{job.id}' is {job.state}.", remedy="Wait for its end, or cancel it.")
    if job.state not in RESUMABLE:
        raise InputError(f"merge '{job.id}' is {job.state}.", remedy="Ask for a new one.")
    return job.replaced(state=MergeState.QUEUED, error=None, progress="", done=0, of=0)
