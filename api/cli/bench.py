"""`bench`: does recruiting pay on your questions?"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.session import Session, session_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from api.cli.progress import OnJobs
    from orchestrator.bootstrap.app import App
    from orchestrator.domain.queries import Query
    from orchestrator.evaluation.bench import BenchReport
    from orchestrator.evaluation.bench_grades import Answered, AnswerScores
    from orchestrator.evaluation.comparison import Ground, Trial

DEFAULT = (
    "auto",
    "auto_k3",
    "best_single",
    "self_consistency",
    "static_top_3",
    "random_3",
    "majority_all",
    "oracle",
)

RunAll = Annotated[bool, typer.Option("--run-all", help="Run every row, for its own loads and seconds.")]


def bench(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Labelled questions, none of them profiled on.")],
    composition: Annotated[
        list[str] | None, typer.Option("--composition", "-c", help="Repeatable. Default: a standard set.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for report.json and the pictures.")
    ] = None,
    run_all: RunAll = False,
    scores: Annotated[
        Path | None,
        typer.Option("--scores", help="Scores of experts' answers to the open questions, as of `profile`."),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option("--judge", help="Have the answers to the open questions scored by this expert."),
    ] = None,
) -> None:
    """Run compositions on labelled questions and compare them in pairs; the first line is the verdict.

    A row whose calls another row has made is counted from these responses. Open questions are compared by
    scores: of a judge, or given for the experts' answers; where there are none, that is said.
    """
    from api.cli.grade_tables import bench_tables
    from orchestrator.bootstrap.labelled import read_labelled
    from orchestrator.errors import InputError

    if scores is not None and judge is not None:
        raise InputError("give --scores or --judge, not both.", param="judge")
    session = session_of(ctx)
    queries = read_labelled(file)
    with session.app() as app:
        names = composition or DEFAULT
        report = run_bench(app, queries, names, run_all=run_all, scores=scores, judge=judge)
    per_question = {"right", "calls", "confidence", "domains"}
    payload = {"verdict": report.verdict, **report.model_dump(mode="json", exclude=per_question)}
    if out is not None and report.n_queries:
        subtitle = f"{report.n_queries} questions, {report.n_experts} experts"
        save_report(session, out, payload, report.ground, report.trials, subtitle=subtitle)
    session.emit(payload, *bench_tables(report))
    if any(row.failed for row in report.rows):
        raise typer.Exit(1)


def save_report(
    session: Session,
    out: Path,
    document: "dict[str, JsonValue]",
    ground: "Ground",
    trials: "Sequence[Trial]",
    *,
    subtitle: str,
) -> None:
    """`report.json` and the pictures; says on stderr what was written."""
    from api.pictures.report import save_plots

    written = save_plots(out, ground, trials, subtitle=subtitle)
    path = out / "report.json"
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    session.remark(f"Written: {', '.join(str(p) for p in (path, *written))}")


def run_bench(
    app: "App",
    queries: "Sequence[Query]",
    compositions: "Sequence[str]",
    *,
    run_all: bool,
    scores: Path | None = None,
    judge: str | None = None,
) -> "BenchReport":
    """`PoolEvaluation.bench` under a progress bar; names are checked before anything runs."""
    from api.cli.progress import job_bar
    from orchestrator.evaluation.comparison import ORACLE

    for name in compositions:
        if name != ORACLE:
            app.asking.resolve(name)
    if judge is not None:
        check_judge(app, judge)
    with job_bar(app) as bar:
        scored = _answer_scores(app, queries, scores, judge, bar)
        return app.evaluation.bench(
            queries, compositions, run_all=run_all, scores=scored, on_progress=bar.update
        )


def check_judge(app: "App", judge: str) -> None:
    """Refuse a judge before anything is run.

    Raises:
        UnknownNameError: nobody of the pool.
        InputError: an expert without that role.
    """
    from orchestrator.errors import InputError

    if app.experts.expert(judge) not in app.pool.judges:
        raise InputError(
            f"'{judge}' is no judge.",
            param="judge",
            remedy="Add `judge` to the roles of its model_info.muster.",
        )


def _answer_scores(
    app: "App", queries: "Sequence[Query]", scores: Path | None, judge: str | None, bar: "OnJobs"
) -> "AnswerScores":
    """Scores of a judge, of a file, or of what the cards' source has scored before."""
    from orchestrator.evaluation.bench_grades import AnswerScores, by_expert
    from orchestrator.questions.scores import read_scores

    if judge is None:
        experts = [expert.id for expert in app.pool.answerers]
        known = app.experts.scores_of(queries) if scores is None else read_scores(scores, queries, experts)
        return by_expert(known)

    def judged(pairs: "Sequence[Answered]") -> "Sequence[float | None]":
        texts = [(query, answer.text) for query, answer in pairs]
        return app.profiling.score_texts(
            texts, judge, on_progress=lambda progress: bar.update("judging", progress)
        )

    return AnswerScores(judged, judge)
