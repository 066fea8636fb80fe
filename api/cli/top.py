"""`top`: devices, engines and running jobs as they are now, on a screen that follows them."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from api.cli.session import session_of

if TYPE_CHECKING:
    from pydantic import JsonValue
    from rich.console import RenderableType

    from api.schemas.jobs import JobView
    from orchestrator.bootstrap.app import App
    from orchestrator.domain.assignments import EngineBacklog
    from orchestrator.domain.devices import DeviceReport
    from orchestrator.domain.engines import EngineState

MOST_JOBS = 12
NO_CURSOR = ("", "dumb", "unknown")
"""Kinds of terminals, by TERM."""
LEAST_RATED_S = 0.2
"""Two looks closer to each other tell no rate."""

Interval = Annotated[float, typer.Option("--interval", "-n", min=0.2, max=60, help="Seconds between looks.")]
Once = Annotated[bool, typer.Option("--once", help="One look, as where the output is no screen.")]


class Look(NamedTuple):
    """State of a pool at `at`, in seconds of a monotonic clock. `queues`: work that waits, by engine;
    `rates`: queries per second of running jobs since the look before."""

    at: float
    devices: "Sequence[DeviceReport]"
    engines: "Mapping[str, EngineState]"
    queues: "Mapping[str, EngineBacklog]"
    jobs: "Sequence[JobView]"
    rates: Mapping[str, float]


def top(ctx: typer.Context, interval: Interval = 1.0, once: Once = False) -> None:
    """Follow devices, engines and running jobs; Ctrl-C leaves."""
    from rich.console import Group
    from rich.live import Live

    from api.cli.plain import Plain, literal_console

    session = session_of(ctx)
    with session.app() as app:
        look = look_at(app)
        if once or session.as_json or not _is_screen():
            session.emit(payload(look), *screen(look))
            return
        try:
            first = Plain(Group(*screen(look)))
            with Live(first, console=literal_console(), screen=True, auto_refresh=False) as live:
                while True:
                    time.sleep(interval)
                    look = look_at(app, before=look)
                    live.update(Plain(Group(*screen(look))), refresh=True)
        except KeyboardInterrupt:
            return


def _is_screen() -> bool:
    """False where nothing that was written can be written over: a pipe, a file, a terminal without cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in NO_CURSOR


def look_at(app: "App", *, before: Look | None = None, at: float | None = None) -> Look:
    """A look at the books."""
    from api.views.jobs import job_view

    now = time.monotonic() if at is None else at
    jobs = [job_view(progress) for progress in app.jobs.jobs(limit=MOST_JOBS)]
    running = [job for job in jobs if job.finished_at is None]
    rates = {} if before is None else rates_between(before, running, now)
    return Look(now, app.engines.devices(), app.engines.states(), app.metrics.queues(), jobs, rates)


def rates_between(before: Look, running: "Sequence[JobView]", now: float) -> dict[str, float]:
    """Queries per second that jobs ended since the look before; none of those that it did not show."""
    passed = now - before.at
    known = {job.id: _ended(job) for job in before.jobs}
    if passed < LEAST_RATED_S:
        return {}
    return {job.id: max(0, _ended(job) - known[job.id]) / passed for job in running if job.id in known}


def payload(look: Look) -> "dict[str, JsonValue]":
    """A look as JSON."""
    from api.views.experts import engine_view

    return {
        "devices": [report.model_dump(mode="json") for report in look.devices],
        "engines": [
            {
                **engine_view(state).model_dump(mode="json"),
                "waiting": look.queues[name].n_waiting if name in look.queues else 0,
            }
            for name, state in look.engines.items()
        ],
        "jobs": [job.model_dump(mode="json") for job in look.jobs],
    }


def screen(look: Look) -> "list[RenderableType]":
    """A look as tables: devices, the engines that have to do or are not well, jobs."""
    return [_devices(look), _engines(look), _jobs(look)]


def _devices(look: Look) -> "RenderableType":
    from api.cli.tables import table

    shown = table(
        "Devices", "host", "device", "state", "engine", "for", "heard of", numbers=["for", "heard of"]
    )
    for report in look.devices:
        engine, since, seen = report.engine_id or "–", f"{report.state_s:.0f} s", f"{report.seen_s:.0f} s ago"
        shown.add_row(report.host or "–", report.device, report.state, engine, since, seen)
    if not look.devices:
        shown.add_row("nobody was heard of in the last seconds", "", "", "", "", "")
    return shown


def _engines(look: Look) -> "RenderableType":
    from api.cli.tables import table
    from api.views.experts import engine_line

    shown = table("Engines", "engine", "state", "waiting", "oldest", "why", numbers=["waiting", "oldest"])
    for name, state in sorted(look.engines.items(), key=lambda item: -_waiting(look, item[0])):
        n_waiting = _waiting(look, name)
        if state.is_well and not n_waiting and state.since_s is None:
            continue
        oldest = f"{look.queues[name].oldest_wait_s:.0f} s" if n_waiting else "–"
        shown.add_row(name, engine_line(state), f"{n_waiting:,}", oldest, state.why or "")
    idle = sum(state.is_well and not _waiting(look, name) for name, state in look.engines.items())
    shown.caption = f"{idle} of {len(look.engines)} engines are well and have nothing to do"
    shown.caption_justify = "left"
    return shown


def _jobs(look: Look) -> "RenderableType":
    from api.cli.tables import table

    columns = ("job", "composition", "state", "done", "of", "failed", "loads", "a second", "left")
    shown = table("Jobs", *columns, numbers=columns[3:])
    for job in look.jobs:
        rate = look.rates.get(job.id)
        left = f"{job.counts.waiting / rate:,.0f} s" if rate else "–"
        shown.add_row(
            job.label or job.id,
            job.model,
            job.state,
            f"{job.counts.completed:,}",
            f"{job.counts.total:,}",
            f"{job.counts.failed:,}",
            str(job.loads),
            "–" if rate is None else f"{rate:,.1f}",
            left,
        )
    return shown


def _ended(job: "JobView") -> int:
    return job.counts.completed + job.counts.failed


def _waiting(look: Look, engine_id: str) -> int:
    return look.queues[engine_id].n_waiting if engine_id in look.queues else 0
