"""Runs of profiling as they are shown."""

from api.schemas.profiles import ProfileRunView
from orchestrator.domain.profile_runs import ProfileRun


def profile_run_view(run: ProfileRun) -> ProfileRunView:
    """A run of profiling; times in whole seconds since 1970."""
    return ProfileRunView(
        id=run.id,
        state=run.state.value,
        experts=list(run.experts),
        exam=run.exam,
        questions=run.n_questions,
        done=run.done,
        of=run.of,
        asked=run.n_asked,
        reused=run.n_reused,
        profiled=run.n_experts,
        judge=run.judge,
        anchor=run.anchor,
        source=run.source,
        scored=run.n_scored,
        unscored=run.n_unscored,
        self_agreement=run.agreement,
        error=run.error,
        created_at=int(run.created_at),
        finished_at=None if run.finished_at is None else int(run.finished_at),
    )
