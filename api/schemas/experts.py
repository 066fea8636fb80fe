"""Wire types of `/v1/experts`: experts, their engines and their cards."""

from typing import Literal

from pydantic import Field

from api.schemas.base import Wire, shown_as
from api.schemas.experts_grades import GradesView, GradeView


class EngineView(Wire):
    """An engine. `cooling`: its work waits, and it is tried again in `next_try_s` seconds. `down`: only what
    `remedy` says heals it. `since_s`: for how many seconds it has been so, where known. `resident`: a device
    holds it; `asleep`: none does, and one wakes it; `memory_gib`: what it was measured to hold there."""

    engine: str
    state: Literal["ready", "loading", "cooling", "down"]
    code: str | None
    why: str | None
    remedy: str | None
    since_s: float | None
    next_try_s: float | None
    resident: bool = False
    asleep: bool = False
    memory_gib: float | None = None


class LineageView(Wire):
    """Origin of a merged expert: method, parents, SHA-256 of the recipe, and why it was kept."""

    method: str
    parents: list[str]
    recipe_hash: str
    verdict: str


class PauseRequest(Wire):
    """Reason why an expert is paused, for whoever asks."""

    model_config = shown_as(reason="its answers are cut off")

    reason: str = Field(default="", max_length=500)


class PauseView(Wire):
    """A pause of an expert; `since`: seconds since 1970."""

    since: int
    reason: str


class ExpertView(Wire):
    """`accuracy` on the profile questions with exact answers, `grade` the mean score on open ones as
    the card estimates it; None = not profiled. Costs are USD per token. `state`: of its
    engine at the moment. `lineage`: of one that a merge made. `paused`: an admin has taken it out of
    recruiting."""

    model_config = shown_as(
        id="qwen2.5-coder-1.5b",
        object="muster.expert",
        engine="qwen2.5-coder-1.5b",
        backend="transformers",
        is_adapter=False,
        roles=["expert"],
        max_tokens=512,
        params_b=1.5,
        input_cost_per_token=0.0,
        output_cost_per_token=0.0,
        fingerprint="4f1c9be2a6d0",
        accuracy=0.71,
        grade=None,
        state={
            "engine": "qwen2.5-coder-1.5b",
            "state": "ready",
            "code": None,
            "why": None,
            "remedy": None,
            "since_s": None,
            "next_try_s": None,
        },
        lineage=None,
        paused=None,
    )

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
    grade: float | None = None
    state: EngineView
    lineage: LineageView | None = None
    paused: PauseView | None = None


class TallyView(Wire):
    n_right: float
    n_wrong: float
    n_abstain: float
    accuracy: float


class DriftView(Wire):
    """Recent feedback that the history of a card does not explain. `skill` None = the card as a whole;
    `recent`: share right of the last `n` judged answers, the first of which came `since` seconds after 1970,
    by its day; by the history, `expected`, and with 90 % probability from `low` to `high`. `stored_at`: when
    the card was stored, in seconds since 1970; null = before dates were kept."""

    expert: str
    skill: str | None
    recent: float
    n: float
    expected: float
    low: float
    high: float
    since: int
    stored_at: int | None = None


class MeasurementView(Wire):
    """A card of an expert on one question set, without feedback. `stored_at`: when it was stored, in seconds
    since 1970; null = before dates were kept. `is_current`: of the question set that counts now;
    `is_as_configured`: of the weights and settings that the expert has now."""

    object: Literal["muster.measurement"] = "muster.measurement"
    stored_at: int | None
    profile_hash: str
    fingerprint: str
    total: TallyView
    mean_tokens: float
    grade: float | None = None
    is_current: bool
    is_as_configured: bool


class HistoryView(Wire):
    """Measurements of an expert, one for each question set that it was profiled on, the last one first."""

    object: Literal["list"] = "list"
    data: list[MeasurementView]


class CardView(Wire):
    """A competence card: counts per skill on the profile questions with exact answers and, decayed, from
    feedback, whose part of `total` is `feedback`. `graded`: scores on open questions; None = none.
    `feedback_grades`: decayed scores that users gave answers to open questions; in no other number.
    `stored_at`: when it was stored, in seconds since 1970; null = before dates were kept."""

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
    graded: GradesView | None = None
    feedback_grades: GradeView | None = None
    lineage: LineageView | None = None
    stored_at: int | None = None
