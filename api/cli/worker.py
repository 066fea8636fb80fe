"""`worker` and `beat`: the processes of the stack beside `serve`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.session import Session, session_of

if TYPE_CHECKING:
    from orchestrator.settings.schema import Settings


def worker(
    ctx: typer.Context,
    device: Annotated[
        str | None,
        typer.Option(
            help="Own this device: cpu, cuda:N, or cuda for engines over several. Without it: steps only."
        ),
    ] = None,
    no_steps: Annotated[
        bool, typer.Option("--no-steps", help="Only generate; other workers route and vote.")
    ] = False,
    processes: Annotated[int, typer.Option(min=1, max=256, help="Of a worker without a device.")] = 1,
    models_dir: Annotated[
        Path | None,
        typer.Option("--models-dir", help="Where this host has the weights. Default: muster.models_dir."),
    ] = None,
) -> None:
    """Work for the stack until SIGTERM: one worker per device, and any number without one.

    Without a pool file it takes the pool that the API published: MUSTER_DATABASE_URL and MUSTER_BROKER_URL
    are all that it needs, and the weights.

    On SIGTERM what is finished is stored and the rest given back. Exit code 75: the broker's messages
    stopped arriving; start it again.
    """
    from api.views.jobs_lines import LINE_FORMS
    from orchestrator.bootstrap.processes import run_device_worker, run_light_worker
    from orchestrator.errors import InputError

    if models_dir is not None and session_of(ctx).is_configured:
        raise InputError(
            "--models-dir is for a worker without a pool file.",
            param="models_dir",
            remedy="Leave it out, or unset MUSTER_CONFIG and --config: the published pool is taken then.",
        )
    settings = _stack_settings(session_of(ctx), models_dir)
    if device is None:
        if no_steps:
            raise InputError("--no-steps without --device leaves nothing to do.", param="no_steps")
        code = run_light_worker(settings, processes=processes, forms=LINE_FORMS)
    else:
        muster = settings.muster.model_copy(update={"device": device})
        of_device = settings.model_copy(update={"muster": muster})
        code = run_device_worker(of_device, steps=not no_steps, forms=LINE_FORMS)
    raise typer.Exit(code)


def beat(ctx: typer.Context) -> None:
    """Sweep what is overdue and ring again for what was not heard, until SIGTERM. Several are harmless."""
    from orchestrator.bootstrap.processes import run_beat

    raise typer.Exit(run_beat(_stack_settings(session_of(ctx))))


def _stack_settings(session: Session, models_dir: Path | None = None) -> "Settings":
    """The configuration of a process whose log is all that it says."""
    logging.getLogger().setLevel(logging.DEBUG if session.debug else logging.INFO)
    return session.stack_settings(models_dir=models_dir, waits=True)
