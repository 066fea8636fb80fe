"""Wire types of `/v1/shadow`."""

from api.schemas.base import Wire


class IntervalView(Wire):
    """A value with its 95 % interval."""

    value: float
    ci95: list[float]


class ShadowView(Wire):
    """The latest questions that were answered twice, in pairs.

    `agreement`: share of the `n - n_unread` pairs that can be read in which both say the same; None = there
    are none. Costs and seconds are means of a question, `more_…` what a live answer needs more than its
    shadow.
    """

    composition: str | None
    share: float
    n: int
    n_unread: int
    n_failed: int
    agreement: IntervalView | None
    cost_usd: float
    shadow_cost_usd: float
    seconds: float
    shadow_seconds: float
    more_usd: IntervalView | None
    more_seconds: IntervalView | None
