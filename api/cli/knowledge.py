"""`profile`, `cards` and `experts`: what is known about the pool."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.session import Session, profile_path, session_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.bootstrap.app import App
    from orchestrator.domain.queries import Query
    from orchestrator.ports.profiling import ProfileReport, Scoring

Png = Annotated[Path | None, typer.Option("--png", help="Write the skill x expert heat map.")]
Export = Annotated[Path | None, typer.Option("--export", help="Write all cards to a file.")]
Import = Annotated[
    Path | None,
    typer.Option("--import", help="Take cards over from a file first; they hold until `profile` is run."),
]
Scores = Annotated[
    Path | None,
    typer.Option(
        "--scores", help="Scores of answers to open questions: JSON lines with id, expert, score (0 to 1)."
    ),
]
Judge = Annotated[
    str | None, typer.Option("--judge", help="Have answers to open questions scored by this expert.")
]
Rubric = Annotated[
    Path | None,
    typer.Option("--rubric", help="Checks for the judge: a JSON list, or an object of lists by question id."),
]
Anchor = Annotated[
    str | None,
    typer.Option("--anchor", help="The judge compares each answer with this expert's, in both orders."),
]
Record = Annotated[
    Path | None,
    typer.Option("--record", help="Write the profile's responses to this folder: a replay set."),
]


def profile(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="Labelled questions, one JSON object a line. Default: muster.profile_set."),
    ] = None,
    expert: Annotated[list[str] | None, typer.Option("--expert", help="Only this one; repeatable.")] = None,
    no_exam: Annotated[bool, typer.Option("--no-exam", help="Leave the aggregator exam out.")] = False,
    scores: Scores = None,
    judge: Judge = None,
    rubric: Rubric = None,
    anchor: Anchor = None,
) -> None:
    """Measure the experts on your questions; what is known already is not asked again.

    Answers to open questions need scores, by one source for the whole profile: --scores or --judge. Without
    either, those of the last source hold.
    """
    from api.cli.grade_tables import cards_tables
    from api.cli.progress import job_progress
    from api.views.experts_grades import grading_lines, grading_view
    from orchestrator.bootstrap.labelled import read_labelled
    from orchestrator.errors import InputError

    check_sources(scores=scores, judge=judge, rubric=rubric, anchor=anchor)
    session = session_of(ctx)
    with session.app() as app:
        path = profile_path(app.settings, file)
        if path is None:
            raise InputError("no questions to profile on.", remedy="Give FILE, or set muster.profile_set.")
        queries = _with_checks(read_labelled(path), rubric)
        for expert_id in expert or ():
            app.experts.expert(expert_id)
        scoring = _scoring(app, queries, scores=scores, judge=judge, anchor=anchor)
        session.quiet.doing("reading skills and counting cards")
        with job_progress(app, "profiling") as on_progress:
            report = app.profiling.run(
                queries, experts=expert, exam=not no_exam, scoring=scoring, on_progress=on_progress
            )
    grading = grading_view(report)
    payload = {
        "profile_hash": report.profile_hash,
        "n_questions": len(queries),
        "n_asked": report.n_asked,
        "n_reused": report.n_reused,
        "accuracy": {
            i: card.total.accuracy for i, card in report.cards.items() if card.total.n or not card.graded
        },
        "unmeasured": report.unmeasured,
        "cut_off": dict(report.cut_off),
        **({} if grading is None else {"grading": grading.model_dump(mode="json")}),
    }
    line = f"{report.n_measured} responses measured, {report.n_reused} known already."
    session.emit(payload, *cards_tables(report.cards), line, *_missed_lines(report), *grading_lines(report))
    if any(n == len(queries) for n in report.unmeasured.values()):
        raise typer.Exit(1)


def _missed_lines(report: "ProfileReport") -> "Iterator[str]":
    """Experts that were not measured throughout, or not as they could have been, and what mends that."""
    for expert_id, n in report.unmeasured.items():
        why = report.failures.get(expert_id, "")
        yield (
            f"{expert_id}: {n} of {report.n_questions} questions not measured"
            f"{f': {why}' if why else ''} -> Mend it and profile again: only these are asked."
        )
    for expert_id, n in report.cut_off.items():
        yield (
            f"{expert_id}: {n} responses were cut off before an answer could be read, and are abstentions "
            "on its card -> Give it more litellm_params.max_tokens, and profile again."
        )


def check_sources(*, scores: object, judge: object, rubric: object, anchor: object) -> None:
    """Refuse options that do not go together.

    Raises:
        InputError: scores and a judge, or what a judge needs without one.
    """
    from orchestrator.errors import InputError

    if scores is not None and judge is not None:
        raise InputError(
            "give --scores or --judge, not both: scores of two sources are never mixed.", param="judge"
        )
    for name, given in (("rubric", rubric), ("anchor", anchor)):
        if given is not None and judge is None:
            raise InputError(f"--{name} is for a judge.", param=name, remedy="Name one with --judge.")
    if rubric is not None and anchor is not None:
        raise InputError(
            "give --rubric or --anchor, not both: a pair is compared as a whole.", param="anchor"
        )


def _with_checks(queries: "Sequence[Query]", rubric: Path | None) -> "Sequence[Query]":
    from orchestrator.questions.scores import read_rubric

    return queries if rubric is None else read_rubric(rubric, queries)


def _scoring(
    app: "App", queries: "Sequence[Query]", *, scores: Path | None, judge: str | None, anchor: str | None
) -> "Scoring | None":
    from orchestrator.ports.profiling import Judging
    from orchestrator.questions.scores import read_scores

    if scores is not None:
        return read_scores(scores, queries, [expert.id for expert in app.pool.answerers])
    return None if judge is None else Judging(judge, anchor)


def cards(
    ctx: typer.Context,
    expert: Annotated[str | None, typer.Argument(metavar="[ID]", help="One expert's card.")] = None,
    png: Png = None,
    export: Export = None,
    import_: Import = None,
    drift: Annotated[
        bool, typer.Option("--drift", help="List where recent feedback leaves the history instead.")
    ] = False,
    swiss: Annotated[
        bool, typer.Option("--swiss", help="Rank the experts by Swiss rounds over the profile instead.")
    ] = False,
    history: Annotated[
        bool, typer.Option("--history", help="List an expert's measurements, with their dates, instead.")
    ] = False,
    record: Record = None,
) -> None:
    """Show the competence cards; draw, export or import them, or write the responses behind them."""
    from orchestrator.errors import InputError

    if drift + swiss + history > 1:
        raise InputError("give one of --drift, --swiss and --history.")
    if history and expert is None:
        raise InputError("--history is of one expert: name it.", param="expert")
    session = session_of(ctx)
    with session.app() as app:
        if import_ is not None:
            _import_cards(session, app, import_)
        if expert is not None:
            app.experts.expert(expert)
        _write_files(session, app, png=png, export=export)
        if record is not None:
            _write_record(session, app, record)
        if drift:
            _emit_drift(session, app, expert)
        elif swiss:
            _emit_swiss(session, app)
        elif history and expert is not None:
            _emit_history(session, app, expert)
        else:
            _emit_cards(session, app, expert)


def experts(ctx: typer.Context) -> None:
    """List the pool."""
    from api.cli.tables import engine_lines, experts_table
    from api.views.experts import expert_view
    from orchestrator.bootstrap.listed import open_experts

    session = session_of(ctx)
    with open_experts(session.settings()) as listed:
        known, states = listed.experts.cards(), listed.engines.states()
        lineages, pool, paused = listed.experts.lineages, listed.experts.pool, listed.pauses.paused()
        views = [
            expert_view(e, known.get(e.id), states[e.engine.id], lineages.get(e.id), paused.get(e.id))
            for e in pool.experts
        ]
        lines = engine_lines(states.values())
        table = experts_table(pool, known, states, paused=paused)
        session.emit([view.model_dump(mode="json") for view in views], table, *lines)


def _import_cards(session: Session, app: "App", path: Path) -> None:
    session.remark(f"{app.experts.import_cards(path)} cards imported from {path}.")


def _write_record(session: Session, app: "App", folder: Path) -> None:
    written = app.evaluation.record(folder)
    left_out = f"; {written.n_left_out} left out" if written.n_left_out else ""
    session.remark(f"Written: {written.n_questions} questions to {folder}{left_out}.")


def _write_files(session: Session, app: "App", *, png: Path | None, export: Path | None) -> None:
    if png is not None:
        from api.pictures.heatmap import save_heatmap
        from orchestrator.errors import InputError

        try:
            save_heatmap(app.experts.cards(), png)
        except OSError as error:
            raise InputError(f"cannot write {png}: {error.strerror}.", param="png") from error
        session.remark(f"Heat map: {png}")
    if export is not None:
        app.experts.export_cards(export)
        session.remark(f"Cards: {export}")


def _emit_drift(session: Session, app: "App", expert: str | None) -> None:
    from api.cli.tables import drift_table
    from api.views.experts import drift_view

    found = [drift for drift in app.experts.drifts() if expert in (None, drift.expert_id)]
    dates = app.experts.stored_at()
    shown = (
        drift_table(found, dates)
        if found
        else "Recent feedback agrees with the cards, or is too little to tell."
    )
    session.emit({"drift": [drift_view(drift, dates).model_dump(mode="json") for drift in found]}, shown)


def _emit_history(session: Session, app: "App", expert_id: str) -> None:
    from api.cli.tables import history_table
    from api.views.experts import history_view

    current = app.experts.measured().get(expert_id)
    expert = app.experts.expert(expert_id)
    view = history_view(app.experts.history(expert_id), expert=expert, current=current)
    shown = history_table(expert_id, view) if view.data else f"{expert_id} was not profiled yet."
    session.emit(view.model_dump(mode="json"), shown)


def _emit_swiss(session: Session, app: "App") -> None:
    from api.cli.tables import swiss_table

    session.quiet.doing("ranking")
    standings = app.evaluation.swiss()
    session.emit({"swiss": [standing._asdict() for standing in standings]}, swiss_table(standings))


def _emit_cards(session: Session, app: "App", expert: str | None) -> None:
    from api.cli.grade_tables import card_tables, cards_tables
    from api.views.experts import card_view
    from api.views.experts_grades import gaps_of

    known, drifting, lineages = app.experts.cards(), app.experts.drifts(), app.experts.lineages
    gaps, dates = gaps_of(app.experts.score_table(), of=expert), app.experts.stored_at()
    if expert is not None:
        card = app.experts.card(expert)
        view = card_view(card, drifting, lineages.get(expert), gaps, dates)
        return session.emit(view.model_dump(mode="json"), *card_tables(card, dates.get(expert)))
    payload = {
        i: card_view(card, drifting, lineages.get(i), gaps, dates).model_dump(mode="json")
        for i, card in known.items()
    }
    nobody = ["No expert is profiled yet. Run `muster profile QUESTIONS.jsonl`."]
    return session.emit(payload, *(cards_tables(known, gaps, dates) if known else nobody))
