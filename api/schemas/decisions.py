"""Wire types of decisions: who was recruited, and why."""

from pydantic import (
    Field,
)

from api.schemas.base import Wire


class SkillView(Wire):
    name: str
    weight: float


class EvidenceView(Wire):
    """`accuracy` in [0, 1] with its 90 % interval, from `n` graded questions."""

    skill: str
    weight: float
    score: float
    n: float
    accuracy: float
    low: float
    high: float


class RecruitView(Wire):
    expert: str
    weight: float
    score: float
    accuracy: float
    evidence: list[EvidenceView]
    note: str | None


class DecisionView(Wire):
    """`reserves` were not asked, or not yet. `answer_type`: as inferred; null = the request named it."""

    router: str
    recruits: list[RecruitView]
    reserves: list[RecruitView] = Field(default_factory=list)
    skills: list[SkillView]
    runner_up: RecruitView | None
    would_change: str | None
    notes: list[str]
    answer_type: str | None = None
    card_version: str
    seed: int
