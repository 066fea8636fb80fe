"""`plan`: what the devices did for a job and will do."""

from typing import Annotated

import typer

from api.cli.session import session_of


def plan(
    ctx: typer.Context,
    job: Annotated[str, typer.Argument(help="Job id, as `muster batch --json` gives it.")],
    exact: Annotated[
        bool, typer.Option("--exact", help="The shortest schedule there is (extra `plan`; up to 5 s).")
    ] = False,
) -> None:
    """Show loads and seconds of a job, done and left, and the timeline of each device.

    The lower bound is what no schedule could beat; of a job that has ended, the ratio says how close it
    came.
    """
    from api.cli.tables import engine_lines, plan_lines, plan_table
    from api.views.jobs import plan_view
    from orchestrator.domain.devices import AUTO_DEVICE, AUTO_MEANS

    session = session_of(ctx)
    with session.app() as app:
        made = app.jobs.plan(job, exact=exact)
        waits_for = app.jobs.waits_for(job)
    payload = plan_view(made, waits_for).model_dump(mode="json")
    meant = [f"Device {AUTO_MEANS}."] if any(stay.device == AUTO_DEVICE for stay in made.stays) else []
    session.emit(payload, plan_table(made), plan_lines(made), *meant, *engine_lines(waits_for))
