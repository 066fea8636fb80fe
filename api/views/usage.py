"""Usage as it is shown."""

from api.schemas.usage import SingleView, UsageRowView, UsageView
from orchestrator.services.usage import SingleCost, UsageReport, UsageRow


def usage_view(report: UsageReport) -> UsageView:
    """Usage by row and in all, of the days asked for."""
    return UsageView(
        first=report.first,
        last=report.last,
        data=[_row_view(row) for row in report.rows],
        total=_row_view(report.total),
    )


def _row_view(row: UsageRow) -> UsageRowView:
    return UsageRowView(
        day=row.day,
        key=row.key,
        model=row.model,
        role=row.role,
        questions=row.questions.n,
        failed_questions=row.questions.n - row.questions.n_completed,
        calls=row.calls.n,
        failed_calls=row.calls.n - row.calls.n_completed,
        input_tokens=row.calls.prompt_tokens,
        output_tokens=row.calls.completion_tokens,
        cost_usd=row.calls.cost_usd,
        engine_seconds=row.calls.engine_s,
        best_single=_single_view(row.single),
    )


def _single_view(single: SingleCost | None) -> SingleView | None:
    if single is None:
        return None
    return SingleView(expert=single.expert_id, cost_usd=single.cost_usd, engine_seconds=single.engine_s)
