"""`jobs`: what was submitted, how far it is, and how to end it."""

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.session import session_of

if TYPE_CHECKING:
    from rich.table import Table

    from api.schemas.jobs import JobView

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job of `muster jobs list`.")]


def jobs_list(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
) -> None:
    """List jobs: running ones first, newest first within both kinds."""
    from api.views.jobs import job_view

    session = session_of(ctx)
    with session.app() as app:
        views = [job_view(progress) for progress in app.jobs.jobs(limit=limit)]
    session.emit([view.model_dump(mode="json") for view in views], _table("Jobs", views))


def jobs_show(ctx: typer.Context, job_id: JobId) -> None:
    """Show one job."""
    from api.views.jobs import job_view

    session = session_of(ctx)
    with session.app() as app:
        view = job_view(app.jobs.job(job_id))
    session.emit(view.model_dump(mode="json"), _table("Job", [view]))


def jobs_cancel(ctx: typer.Context, job_id: JobId) -> None:
    """End a job; what is answered is kept. One that has ended stays as it is."""
    from api.views.jobs import job_view

    session = session_of(ctx)
    with session.app() as app:
        app.jobs.cancel(job_id)
        view = job_view(app.jobs.job(job_id))
    session.emit(view.model_dump(mode="json"), _table("Job", [view]))


def _table(title: str, views: "list[JobView]") -> "Table":
    from api.cli.tables import table

    numbers = ["questions", "answered", "failed", "calls", "loads"]
    result = table(title, "id", "state", "model", *numbers, "label", numbers=numbers, whole=["id"])
    for view in views:
        counts = (view.counts.total, view.counts.completed, view.counts.failed)
        result.add_row(
            view.id, view.state, view.model, *map(str, (*counts, view.calls, view.loads)), view.label
        )
    return result
