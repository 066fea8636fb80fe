"""`bench`: does recruiting pay on your questions?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.bench import BenchReport
    from orchestrator.bootstrap import App
    from orchestrator.domain.queries import Query

DEFAULT = ("auto", "best_single", "static_top_3", "random_3", "majority_all", "oracle")


def bench(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Labelled questions, none of them profiled on.")],
    composition: Annotated[
        list[str] | None, typer.Option("--composition", "-c", help="Repeatable. Default: a standard set.")
    ] = None,
) -> None:
    """Run compositions on labelled questions and compare them in pairs; the first line is the verdict."""
    from api.cli.tables import bench_table
    from orchestrator.question_files import read_questions

    session = session_of(ctx)
    queries = read_questions(file)
    with session.app() as app:
        report = run_bench(app, queries, composition or DEFAULT)
    payload = {"verdict": report.verdict, **report.model_dump(mode="json", exclude={"right"})}
    session.emit(payload, report.verdict, bench_table(report))


def run_bench(app: "App", queries: "Sequence[Query]", compositions: "Sequence[str]") -> "BenchReport":
    """`app.bench` under a progress bar; names are checked before anything runs."""
    from api.cli.progress import job_bar
    from orchestrator.bench import ORACLE

    for name in compositions:
        if name != ORACLE:
            app.service.resolve(name)
    with job_bar(app) as bar:
        return app.bench(queries, compositions, on_progress=bar.update)
