"""`usage`: what was asked, what it took, and what one expert alone would have cost."""

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.session import session_of

if TYPE_CHECKING:
    from rich.table import Table

    from api.schemas.usage import UsageRowView, UsageView

DIMENSIONS = ("day", "key", "model", "role")


def usage(
    ctx: typer.Context,
    first: Annotated[str | None, typer.Option("--from", help="First day, UTC (YYYY-MM-DD).")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day. Default: today.")] = None,
    by: Annotated[str, typer.Option("--by", help="day, key, model, role, joined by commas.")] = "model,role",
) -> None:
    """Show tokens, USD, seconds of devices and questions; by default of the last 30 days."""
    from api.views.usage import usage_view
    from orchestrator.services.usage import dimensions_of, span_of

    session = session_of(ctx)
    group_by = dimensions_of(by)
    span = span_of(first, last)
    with session.app() as app:
        view = usage_view(app.usage.report(*span, group_by=group_by))
    session.emit(view.model_dump(mode="json", by_alias=True), _table(view, list(group_by)), *_lines(view))


def _table(view: "UsageView", group_by: list[str]) -> "Table":
    from api.cli.tables import table

    numbers = ("questions", "calls", "input", "output", "USD", "engine s")
    shown = table(f"Usage from {view.first} to {view.last}", *group_by, *numbers, numbers=numbers)
    for row in view.data:
        shown.add_row(*(str(getattr(row, name)) for name in group_by), *_cells(row))
    shown.add_row(*("all" if i == 0 else "" for i in range(len(group_by))), *_cells(view.total))
    return shown


def _cells(row: "UsageRowView") -> list[str]:
    counts = (row.questions, row.calls, row.input_tokens, row.output_tokens)
    return [*map(str, counts), f"{row.cost_usd:.4f}", f"{row.engine_seconds:.1f}"]


def _lines(view: "UsageView") -> list[str]:
    single = view.total.best_single
    if single is None:
        return []
    usd = "?" if single.cost_usd is None else f"{single.cost_usd:.4f}"
    seconds = "?" if single.engine_seconds is None else f"{single.engine_seconds:.1f}"
    return [
        f"{single.expert}, the best single expert, for the same questions: {usd} USD, {seconds} engine s."
    ]
