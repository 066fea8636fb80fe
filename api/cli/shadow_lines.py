"""Comparisons with shadows as lines of text."""

from api.schemas.shadow import IntervalView, ShadowView


def shadow_lines(view: ShadowView) -> list[str]:
    if not view.n:
        return [f"no pairs yet; muster.shadow.composition is {view.composition or 'not set'}"]
    unread = f", {view.n_unread} cannot be read" if view.n_unread else ""
    failed = f", {view.n_failed} shadows failed" if view.n_failed else ""
    lines = [f"{view.n} pairs with '{view.composition}'{unread}{failed}"]
    if view.agreement is not None:
        lines.append(f"agreement  {view.agreement.value:.1%} ({_span(view.agreement, '.1%')})")
    lines.append(_compared("USD", view.cost_usd, view.shadow_cost_usd, view.more_usd))
    lines.append(_compared("seconds", view.seconds, view.shadow_seconds, view.more_seconds))
    return lines


def _compared(what: str, live: float, shadow: float, more: IntervalView | None) -> str:
    gain = "" if more is None else f", {more.value:+.4g} more ({_span(more, '+.4g')})"
    return f"{what:<10} {live:.4g} live, {shadow:.4g} shadow{gain}"


def _span(interval: IntervalView, form: str) -> str:
    low, high = interval.ci95
    return f"95 % interval {low:{form}} to {high:{form}}"
