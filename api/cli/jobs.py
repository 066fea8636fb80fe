"""`jobs`: what was submitted, how far it is, how to end it, run it again and delete it; `vacuum`."""

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.batch import INTERRUPTED
from api.cli.session import session_of

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from api.schemas.jobs import JobView
    from orchestrator.bootstrap.app import App

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job of `muster jobs list`.")]


def jobs_list(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
) -> None:
    """List jobs: running ones first, newest first within both kinds."""
    from api.views.jobs import job_view
    from orchestrator.bootstrap.books import open_books

    session = session_of(ctx)
    with open_books(session.settings()) as books:
        views = [job_view(progress) for progress in books.jobs(limit=limit)]
    session.emit([view.model_dump(mode="json") for view in views], _table("Jobs", views))


def jobs_show(ctx: typer.Context, job_id: JobId) -> None:
    """Show one job, why questions failed, and the engines that it waits for."""
    from api.cli.tables import engine_lines
    from api.views.jobs import job_view

    session = session_of(ctx)
    with session.app() as app:
        waits_for = app.jobs.waits_for(job_id)
        view = job_view(app.jobs.job(job_id), waits_for)
        failed = _failed(app, view)
    session.emit(view.model_dump(mode="json"), _table("Job", [view]), *engine_lines(waits_for), *failed)


def jobs_cancel(ctx: typer.Context, job_id: JobId) -> None:
    """End a job; what is answered is kept. One that has ended stays as it is."""
    from api.views.jobs import job_view

    session = session_of(ctx)
    with session.app() as app:
        app.jobs.cancel(job_id)
        app.endings.complete(job_id)
        view = job_view(app.jobs.job(job_id))
    session.emit(view.model_dump(mode="json"), _table("Job", [view]))


def jobs_retry(
    ctx: typer.Context,
    job_id: JobId,
    failed_only: Annotated[
        bool,
        typer.Option(
            "--failed-only/--and-degraded",
            help="And degraded: answers that had to do without somebody who was asked are replaced, too.",
        ),
    ] = True,
    deadline_s: Annotated[
        float | None, typer.Option(min=1, help="Seconds from now. Default: no deadline any more.")
    ] = None,
) -> None:
    """Run what failed in a job that has ended again; what is answered stays.

    What was cancelled or came too late goes on where it was. Without a stack this command does the work, and
    Ctrl-C leaves a job that its `muster batch` resumes (exit code 130). Exit code 1: some failed again.
    """
    from api.cli.progress import job_progress
    from api.views.jobs import job_view

    session = session_of(ctx)
    with session.app() as app:
        n = app.ended.retry(job_id, failed_only=failed_only, deadline_s=deadline_s)
        session.remark(f"{n} questions run again." if n else "Nothing to run again.")
        if n and not app.settings.is_stack:
            try:
                with job_progress(app, job_id) as on_progress:
                    app.jobs.run(job_id, on_progress=on_progress)
            except KeyboardInterrupt:
                session.remark(
                    f"Interrupted. {job_id} goes on with its `muster batch`, or with `muster serve`."
                )
                raise typer.Exit(INTERRUPTED) from None
        view = job_view(app.jobs.job(job_id))
        failed = _failed(app, view)
    session.emit(view.model_dump(mode="json"), _table("Job", [view]), *failed)
    if view.state != "running" and view.counts.failed:
        raise typer.Exit(1)


def jobs_delete(ctx: typer.Context, job_id: JobId) -> None:
    """Delete a job that has ended, with its questions, prompts, responses, answers and feedback, for good."""
    session = session_of(ctx)
    with session.app() as app:
        app.ended.delete(job_id)
    session.emit({"id": job_id, "deleted": True}, f"{job_id} is deleted.")


def vacuum(ctx: typer.Context) -> None:
    """Delete jobs that were kept for long enough (`muster.retention`), and give free space back."""
    session = session_of(ctx)
    with session.app() as app:
        n = app.ended.vacuum()
    session.emit(
        {"deleted": n}, f"{n} jobs were kept for long enough and are deleted; free space is given back."
    )


def _failed(app: "App", view: "JobView") -> "list[Text]":
    from rich.text import Text

    from api.views.jobs_failures import failure_lines, failures_of

    failures = failures_of(
        lambda n: app.pages.some_answers(view.id, limit=n, failed=True), n_failed=view.counts.failed
    )
    return [Text(line) for line in failure_lines(failures, again=f"muster jobs retry {view.id}")]


def _table(title: str, views: "list[JobView]") -> "Table":
    from api.cli.tables import table

    numbers = ["questions", "answered", "failed", "calls", "loads", "retries"]
    result = table(title, "id", "state", "model", *numbers, "label", numbers=numbers, whole=["id"])
    for view in views:
        counts = (view.counts.total, view.counts.completed, view.counts.failed)
        numbers_of = (*counts, view.calls, view.loads, view.retries)
        result.add_row(view.id, view.state, view.model, *map(str, numbers_of), view.label)
    return result
