"""`bench compositions`: answers of several experts, fused logits, merged weights or one expert, at equal
compute."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.quiet import AT_WORK
from api.cli.session import Session, profile_path, session_of
from api.cli.zoo import zoo_file

if TYPE_CHECKING:
    from orchestrator.bootstrap.app import App
    from orchestrator.evaluation.compositions import CompositionsReport, Kind
    from orchestrator.settings.schema import Settings

POOL, QUESTIONS = "combine.yaml", "combine-test.jsonl"
"""Files of the zoo."""
OUT = Path("build/compositions")
DATABASE = "muster.sqlite3"


def compositions(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="Labelled questions, none of them profiled on. Default: the example pool's."),
    ] = None,
    composition: Annotated[
        list[str] | None,
        typer.Option(
            "--composition",
            "-c",
            help="A row: a composition or an expert; repeatable. Default: ensembles, the best single "
            "expert, every fused and merged expert.",
        ),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option("--profile", help="Labelled questions to profile on. Default: muster.profile_set."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for compositions.json and compositions.png.")
    ] = None,
) -> None:
    """Compare ways to combine experts at equal compute; the last line says which to use on this pool.

    Ensembles, fused experts, merged experts and the best single one answer the same questions; each is
    run for its own seconds. Without a configuration: the zoo.
    """
    from api.cli.progress import job_bar
    from api.cli.tables import compositions_table
    from orchestrator.bootstrap.app import open_app
    from orchestrator.bootstrap.comparing import ENSEMBLES, SINGLES, plain_ensembles
    from orchestrator.bootstrap.labelled import read_labelled

    session = session_of(ctx)
    settings, questions, out = _inputs(session, file, out)
    if out is not None:
        _prepare(out)
    queries = read_labelled(questions)
    settings = plain_ensembles(settings, [*SINGLES, *ENSEMBLES, *(composition or ())])
    session.quiet.doing("opening the pool")
    with open_app(settings) as app:
        session.quiet.doing(AT_WORK)
        kinds = _kinds(app, composition)
        _profile(app, profile_path(settings, profile))
        with job_bar(app) as bar:
            report = app.evaluation.compositions(queries, kinds, on_progress=bar.update)
    _keep(settings, report)
    if out is not None:
        _save(session, out, report)
    session.emit(report.model_dump(mode="json"), compositions_table(report), report.verdict)
    if report.failed:
        raise typer.Exit(1)


def _inputs(session: Session, file: Path | None, out: Path | None) -> "tuple[Settings, Path, Path | None]":
    """Configuration, questions and output folder: what is given or configured, else the example pool's."""
    from orchestrator.errors import InputError

    if session.is_configured:
        if file is None:
            raise InputError(
                "no questions to compare on.",
                remedy="Give FILE: labelled questions that nobody was profiled on.",
            )
        return session.settings(), file, out
    return _example_pool(), file or zoo_file(QUESTIONS), out or OUT


def _example_pool() -> "Settings":
    """The example pool with a database of its own."""
    from orchestrator.settings.load import load_settings

    settings = load_settings(zoo_file(POOL))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.mkdir(mode=0o700, exist_ok=True)
    own = {"database_url": f"sqlite:///{OUT / DATABASE}", "data_dir": OUT}
    return settings.model_copy(update={"muster": settings.muster.model_copy(update=own)})


def _prepare(out: Path) -> None:
    """The folder for what will be written: better refused now than after everything was run."""
    from orchestrator.errors import InputError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"'{out}' cannot be a folder: {error.strerror}.", param="out", remedy="Give another --out."
        ) from error


def _kinds(app: "App", names: list[str] | None) -> "dict[str, Kind]":
    """The rows in their order with their kinds; a name that nobody has is refused before anything runs."""
    from orchestrator.bootstrap.comparing import row_kind, rows_of

    rows = tuple(names or rows_of(app.pool, app.lineages))
    for name in rows:
        app.asking.resolve(name)
    return {name: row_kind(name, app.pool, app.settings, app.lineages) for name in rows}


def _profile(app: "App", path: Path | None) -> None:
    """Measure whom nobody measured yet; without questions the pool must be profiled already."""
    from api.cli.progress import job_progress
    from orchestrator.bootstrap.labelled import read_labelled
    from orchestrator.errors import NotProfiledError

    if path is None:
        if not app.experts.cards():
            raise NotProfiledError(
                "the pool has no profile to choose experts by.",
                remedy="Give --profile FILE, set muster.profile_set, or run `muster profile` first.",
            )
        return
    with job_progress(app, "profiling") as on_progress:
        app.profiling.run(read_labelled(path), on_progress=on_progress)


def _keep(settings: "Settings", report: "CompositionsReport") -> None:
    """Keep the report in the data directory, where the page of compositions finds the last one."""
    from orchestrator.evaluation.compositions import REPORT_FILE
    from orchestrator.runtime.files import replacing

    with replacing(Path(settings.muster.data_dir) / REPORT_FILE, private=True) as file:
        file.write(report.model_dump_json(indent=2).encode() + b"\n")


def _save(session: Session, out: Path, report: "CompositionsReport") -> None:
    from api.pictures.compositions import save_compositions

    subtitle = f"{report.n_queries} questions, {report.n_experts} experts"
    written = save_compositions(out, report, subtitle=subtitle)
    path = out / "compositions.json"
    path.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    session.remark(f"Written: {', '.join(str(p) for p in (path, *written))}")
