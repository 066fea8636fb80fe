"""`feedback`: whether an answer was right."""

from typing import Annotated

import typer

from api.cli.session import session_of

Job = Annotated[str, typer.Argument(metavar="JOB", help="A job of `muster jobs list`.")]
QueryId = Annotated[str | None, typer.Argument(metavar="[QUERY]", help="Its query, where it has several.")]
Right = Annotated[bool | None, typer.Option("--right/--wrong", help="The answer was right, or wrong.")]
Score = Annotated[float | None, typer.Option(min=0, max=1, help="How right it was, instead.")]
Key = Annotated[str, typer.Option(help="Tells judgements of one answer apart; each counts once.")]


def feedback(
    ctx: typer.Context,
    job: Job,
    query: QueryId = None,
    right: Right = None,
    score: Score = None,
    key: Key = "",
) -> None:
    """Say whether an answer was right: the cards of the experts that took part learn from it."""
    from api.cli.tables import feedback_table
    from api.views.feedback import feedback_view
    from orchestrator.errors import InputError

    if (right is None) == (score is None):
        raise InputError("give either --right, --wrong or --score.")
    session = session_of(ctx)
    with session.app() as app:
        verdict = float(bool(right)) if score is None else score
        given = app.feedback.judge(job, query, score=verdict, key=key)
    session.emit(feedback_view(given).model_dump(mode="json"), feedback_table(given))
