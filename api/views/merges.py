"""Merges as they are shown; places of files on the server are left out."""

from api.schemas.merges import MergeFiguresView, MergeProblemView, MergeView, PreflightView
from orchestrator.domain.merges import MergeJob, MergeReport


def merge_view(job: MergeJob) -> MergeView:
    """A merge, and its report once there is one."""
    report = job.report
    return MergeView(
        id=job.id,
        state=job.state.value,
        out=job.out,
        progress=job.progress,
        done=job.done,
        of=job.of,
        created_at=job.created_at,
        error=job.error,
        merge=None if report is None else _figures(report, job.out),
        preflight=None if report is None else _preflight(report),
        verdict=None if report is None else report.verdict,
    )


def _figures(report: MergeReport, out: str) -> MergeFiguresView:
    return MergeFiguresView(**{**report.merge.model_dump(), "out": out})


def _preflight(report: MergeReport) -> PreflightView:
    found = report.preflight
    problems = [MergeProblemView(**problem.model_dump()) for problem in found.problems]
    return PreflightView(ok=found.ok, seconds=found.seconds, problems=problems)
