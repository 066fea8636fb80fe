"""Progress of long work, on stderr: calls done, queries done, loads, time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from orchestrator.bootstrap import App
    from orchestrator.domain.assignments import JobProgress


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
            detail=progress_line(progress, engines_left=self._engines_left()),
        )

    def _engines_left(self) -> int:
        return sum(item.n_waiting > 0 for item in self._app.jobs.backlog(owner="cli"))


@contextmanager
def job_bar(app: "App") -> Iterator[JobBar]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield JobBar(bar, app)


@contextmanager
def job_progress(app: "App", title: str) -> Iterator[Callable[["JobProgress"], None]]:
    """An `on_progress` for a single job."""
    with job_bar(app) as bar:
        yield lambda progress: bar.update(title, progress)


def progress_line(progress: "JobProgress", *, engines_left: int) -> str:
    """`12/20 queries, 1 failed, 3 loads, 2 engines left`."""
    failed = f", {progress.failed} failed" if progress.failed else ""
    done = progress.completed + progress.failed
    return f"{done}/{progress.total} queries{failed}, {progress.n_loads} loads, {engines_left} engines left"
