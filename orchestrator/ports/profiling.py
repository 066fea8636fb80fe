"""Profiling: experts measured on labelled questions."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from orchestrator.domain.assignments import JobProgress
from orchestrator.domain.cards import CompetenceCard, Profile
from orchestrator.domain.queries import Query


class ProfileReport(NamedTuple):
    """Report of a run. `unmeasured`: experts with questions that only infrastructure errors answered."""

    profile_hash: str
    cards: dict[str, CompetenceCard]
    n_questions: int
    n_asked: int
    n_reused: int
    n_exam_questions: int
    unmeasured: dict[str, int]


class PoolProfiler(Protocol):
    """Keeps the cards of a pool up to date."""

    def run(
        self,
        queries: Sequence[Query],
        *,
        experts: Sequence[str] | None = None,
        exam: bool = True,
        on_progress: Callable[[JobProgress], None] | None = None,
    ) -> ProfileReport:
        """Ask what is not yet known, grade it, and store the cards of every expert with outcomes."""

    def outcomes(
        self,
        queries: Sequence[Query],
        *,
        experts: Sequence[str],
        on_progress: Callable[[JobProgress], None] | None = None,
    ) -> dict[str, list[int]]:
        """Outcomes of experts on questions, asked where they are not known; no card is counted from them."""

    def profile(self) -> Profile | None:
        """Outcomes of the pool's answerers on the newest profile set; None before the first run."""
