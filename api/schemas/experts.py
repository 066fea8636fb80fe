"""Wire types of `/v1/experts`: experts, their engines and their cards."""

from typing import Literal

from api.schemas.base import Wire


class EngineView(Wire):
    """An engine. `cooling`: its work waits, and it is tried again in `next_try_s` seconds. `down`: only what
    `remedy` says heals it. `since_s`: for how many seconds it has been so, where known."""

    engine: str
    state: Literal["ready", "loading", "cooling", "down"]
    code: str | None
    why: str | None
    remedy: str | None
    since_s: float | None
    next_try_s: float | None


class LineageView(Wire):
    """Origin of a merged expert: method, parents, SHA-256 of the recipe, and why it was kept."""

    method: str
    parents: list[str]
    recipe_hash: str
    verdict: str


class ExpertView(Wire):
    """`accuracy` on the profile questions; None = not profiled. Costs are USD per token. `state`: of its
    engine at the moment. `lineage`: of one that a merge made."""

    id: str
    object: Literal["muster.expert"] = "muster.expert"
    engine: str
    backend: str
    is_adapter: bool
    roles: list[str]
    max_tokens: int
    params_b: float | None
    input_cost_per_token: float
    output_cost_per_token: float
    fingerprint: str
    accuracy: float | None
    state: EngineView
    lineage: LineageView | None = None


class ExpertList(Wire):
    object: Literal["list"] = "list"
    data: list[ExpertView]


class TallyView(Wire):
    n_right: float
    n_wrong: float
    n_abstain: float
    accuracy: float


class DriftView(Wire):
    """Recent feedback that the history of a card does not explain. `skill` None = the card as a whole;
    `recent`: share right of the last `n` judged answers; by the history, `expected`, and with 90 %
    probability from `low` to `high`."""

    expert: str
    skill: str | None
    recent: float
    n: float
    expected: float
    low: float
    high: float


class CardView(Wire):
    """A competence card: counts per skill on the profile questions and, decayed, from feedback, whose part
    of `total` is `feedback`."""

    object: Literal["muster.card"] = "muster.card"
    expert: str
    fingerprint: str
    profile_hash: str
    total: TallyView
    skills: dict[str, TallyView]
    domains: dict[str, TallyView]
    aggregation: dict[str, TallyView]
    mean_tokens: float
    mean_latency_ms: float
    cost_per_query: float
    feedback: TallyView
    drift: list[DriftView]
    lineage: LineageView | None = None
