"""Comparisons with shadows as they are shown."""

from api.schemas.shadow import IntervalView, ShadowView
from orchestrator.evaluation.shadows import ShadowReport
from orchestrator.evaluation.statistics import Estimate
from orchestrator.settings.schema import ShadowSettings


def shadow_view(report: ShadowReport, settings: ShadowSettings) -> ShadowView:
    """Comparisons of live answers with their shadows, and the settings by which shadows are cast."""
    estimates = ("agreement", "more_usd", "more_seconds")
    fields = {name: value for name, value in report._asdict().items() if name not in estimates}
    return ShadowView(
        composition=settings.composition,
        share=settings.share,
        agreement=_interval(report.agreement),
        more_usd=_interval(report.more_usd),
        more_seconds=_interval(report.more_seconds),
        **fields,
    )


def _interval(estimate: Estimate | None) -> IntervalView | None:
    return (
        None if estimate is None else IntervalView(value=estimate.value, ci95=[estimate.low, estimate.high])
    )
