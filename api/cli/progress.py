"""Progress of long work, on stderr: calls done, queries done, loads, time left.

On a terminal it is a bar; where stderr is piped, a line now and then.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

if TYPE_CHECKING:
    from orchestrator.bootstrap.app import App
    from orchestrator.domain.assignments import JobProgress, LoadPlan
    from orchestrator.domain.engines import EngineState


LINE_S = 10.0
"""Seconds between lines."""


class OnJobs(Protocol):
    """Display of the progress of jobs, one after the other."""

    def update(self, title: str, progress: "JobProgress") -> None:
        """Show the progress of a job under the title of what it is for."""


class JobLines:
    """A line when a title is new or has ended, and every `LINE_S` between.

    Args:
        left: what is left of a job.
        waits_for: engines of a job that cannot be served now.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        *,
        left: "Callable[[str], LoadPlan]",
        waits_for: "Callable[[str], Sequence[EngineState]]" = lambda _: (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._left = left
        self._waits_for = waits_for
        self._clock = clock
        self._title = ""
        self._written_at = -math.inf

    def update(self, title: str, progress: "JobProgress") -> None:
        is_due = title != self._title or self._clock() - self._written_at >= LINE_S or not progress.waiting
        if not is_due:
            return
        self._title, self._written_at = title, self._clock()
        calls = f"{progress.n_responses} of {progress.n_assignments} calls"
        job_id = progress.job.id
        line = progress_line(progress, left=self._left(job_id), waits_for=self._waits_for(job_id))
        self._write(f"{title}: {calls}, {line}\n")


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
            detail=progress_line(
                progress,
                left=self._app.jobs.left(progress.job.id),
                waits_for=self._app.jobs.waits_for(progress.job.id),
            ),
        )


@contextmanager
def job_bar(app: "App") -> Iterator[OnJobs]:
    """The display for this process's stderr: a bar on a terminal, which goes at the end, else lines."""
    if not sys.stderr.isatty():
        yield JobLines(
            lambda line: print(line, end="", file=sys.stderr, flush=True),
            left=app.jobs.left,
            waits_for=app.jobs.waits_for,
        )
        return
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


def progress_line(
    progress: "JobProgress", *, left: "LoadPlan", waits_for: "Sequence[EngineState]" = ()
) -> str:
    """`12/20 queries, 1 failed, 3 loads, 2 more, about 1:05 left`, and what it waits for."""
    from api.views.experts import engine_line

    done = progress.completed + progress.failed
    parts = [f"{done}/{progress.total} queries"]
    parts += [f"{progress.failed} failed"] if progress.failed else []
    parts.append(f"{progress.n_loads} loads")
    parts += [f"{left.loads_left} more"] if left.loads_left else []
    parts += [f"about {duration(left.seconds_left)} left"] if left.seconds_left else []
    parts += [f"waits for {state.engine_id}: {engine_line(state)}: {state.why}" for state in waits_for]
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """`1:05`, or `2:00:00` from an hour on; rounded up."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
