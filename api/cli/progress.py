"""Progress of long work, on stderr: calls done, queries done, loads, time left."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

if TYPE_CHECKING:
    from orchestrator.bootstrap.app import App
    from orchestrator.domain.assignments import JobProgress, LoadPlan


class JobBar:
    """One bar. It counts calls, not queries: work is grouped by engine, so queries finish late."""

    def __init__(self, bar: Progress, app: "App") -> None:
        self._bar = bar
        self._app = app
        self._task = bar.add_task("starting", total=None, detail="")

    def update(self, title: str, progress: "JobProgress") -> None:
        self._bar.update(
            self._task,
            description=title,
            total=progress.n_assignments or None,
            completed=progress.n_responses,
            detail=progress_line(progress, left=self._app.jobs.left(progress.job.id)),
        )


@contextmanager
def job_bar(app: "App") -> Iterator[JobBar]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield JobBar(bar, app)


@contextmanager
def job_progress(app: "App", title: str) -> Iterator[Callable[["JobProgress"], None]]:
    """An `on_progress` for a single job."""
    with job_bar(app) as bar:
        yield lambda progress: bar.update(title, progress)


def progress_line(progress: "JobProgress", *, left: "LoadPlan") -> str:
    """`12/20 queries, 1 failed, 3 loads, 2 more, about 1:05 left`."""
    done = progress.completed + progress.failed
    parts = [f"{done}/{progress.total} queries"]
    parts += [f"{progress.failed} failed"] if progress.failed else []
    parts.append(f"{progress.n_loads} loads")
    parts += [f"{left.loads_left} more"] if left.loads_left else []
    parts += [f"about {duration(left.seconds_left)} left"] if left.seconds_left else []
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """`1:05`, or `2:00:00` from an hour on; rounded up."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
