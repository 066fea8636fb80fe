"""`demo`: the committed tiny models, profiled, compared and asked."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.bench import DEFAULT, RunAll, run_bench
from api.cli.session import Session, session_of
from api.cli.zoo import zoo_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.bootstrap.app import App
    from orchestrator.domain.queries import Query
    from orchestrator.settings.schema import Settings

OUT = Path("build/demo")
DATABASE = "muster.sqlite3"
N_EXAMPLES = 3


def demo(
    ctx: typer.Context,
    zoo: Annotated[
        Path | None, typer.Option("--zoo", help="Folder of another example pool than the zoo.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep what an earlier demo measured.")] = False,
    run_all: RunAll = False,
) -> None:
    """Profile the example pool, compare the compositions on held-out questions, show answers.

    Writes report.json and cards.png to build/demo.
    """
    from api.cli.demo_report import demo_report
    from api.cli.progress import job_progress
    from api.cli.tables import bench_table, cards_table
    from api.pictures.heatmap import save_heatmap
    from orchestrator.bootstrap.app import open_app
    from orchestrator.questions.files import read_questions

    session = session_of(ctx)
    pool = zoo / "pool.yaml" if zoo else zoo_file("pool.yaml")
    settings = _settings(pool)
    known, new = (read_questions(pool.with_name(f"{name}.jsonl")) for name in ("profile", "test"))
    _prepare(OUT, keep=keep)
    session.quiet.doing("opening the pool")
    with open_app(settings) as app:
        session.quiet.doing("measuring, comparing and drawing")
        with job_progress(app, "profiling") as on_progress:
            profiled = app.profiling.run(known, on_progress=on_progress)
        save_heatmap(profiled.cards, OUT / "cards.png")
        report = run_bench(app, new, DEFAULT, run_all=run_all)
        document = demo_report(report, new)
        (OUT / "report.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        session.emit(document, cards_table(profiled.cards), bench_table(report), report.verdict)
        if not session.as_json:
            _show_examples(session, app, _examples(new))
    session.remark(f"Written: {OUT / 'report.json'}, {OUT / 'cards.png'}")


def _settings(pool: Path) -> "Settings":
    """The example pool with a database of its own, whatever else is configured."""
    from orchestrator.errors import InputError
    from orchestrator.settings.load import load_settings

    if not pool.is_file():
        raise InputError(f"no example pool at {pool}.", remedy="Give --zoo the folder of its pool.yaml.")
    settings = load_settings(pool)
    database = {"database_url": f"sqlite:///{OUT / DATABASE}", "data_dir": OUT}
    return settings.model_copy(update={"muster": settings.muster.model_copy(update=database)})


def _prepare(out: Path, *, keep: bool) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.mkdir(mode=0o700, exist_ok=True)
    if not keep:
        for old in out.glob(f"{DATABASE}*"):
            old.unlink()


def _examples(queries: "Sequence[Query]") -> "list[Query]":
    """A few spread over the set, so that they need different skills."""
    step = max(1, len(queries) // N_EXAMPLES)
    return list(queries[::step][:N_EXAMPLES])


def _show_examples(session: Session, app: "App", queries: "Sequence[Query]") -> None:
    from api.cli.tables import answer_lines, decision_table

    for query in queries:
        answer = app.asking.ask(query)
        reasons = [decision_table(answer.decision)] if answer.decision else []
        session.emit(None, "", query.text, answer_lines(answer), *reasons)
