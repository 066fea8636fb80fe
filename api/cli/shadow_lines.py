"""Comparisons with shadows as lines of text."""

from collections.abc import Callable

from api.digits import digits
from api.schemas.shadow import IntervalView, ShadowView


def shadow_lines(view: ShadowView) -> list[str]:
    """Agreement, costs and seconds of live answers and their shadows: the number of pairs, then a line
    each."""
    if not view.n:
        return [f"no pairs yet; muster.shadow.composition is {view.composition or 'not set'}"]
    unread = f", {view.n_unread} cannot be read" if view.n_unread else ""
    failed = f", {view.n_failed} shadows failed" if view.n_failed else ""
    lines = [f"{view.n} pairs with '{view.composition}'{unread}{failed}"]
    if view.agreement is not None:
        lines.append(f"agreement  {view.agreement.value:.1%} ({_span(view.agreement, '{:.1%}'.format)})")
    lines.append(_compared("USD", view.cost_usd, view.shadow_cost_usd, view.more_usd))
    lines.append(_compared("seconds", view.seconds, view.shadow_seconds, view.more_seconds))
    return lines


def _compared(what: str, live: float, shadow: float, more: IntervalView | None) -> str:
    gain = "" if more is None else f", {_signed(more.value)} more ({_span(more, _signed)})"
    return f"{what:<10} {digits(live, 4)} live, {digits(shadow, 4)} shadow{gain}"


def _signed(number: float) -> str:
    return ("" if number < 0 else "+") + digits(number, 4)


def _span(interval: IntervalView, said: Callable[[float], str]) -> str:
    low, high = interval.ci95
    return f"95 % interval {said(low)} to {said(high)}"
