"""Profiling: experts measured on labelled questions."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from orchestrator.domain.assignments import JobProgress
from orchestrator.domain.cards import CompetenceCard, Profile
from orchestrator.domain.grades import GradeSource
from orchestrator.domain.queries import Query


class GivenScores(NamedTuple):
    """Scores in [0, 1] that somebody else gave, by the ids of question and expert. `judge`: who; "" = not
    told."""

    scores: Mapping[tuple[str, str], float]
    judge: str = ""


class Judging(NamedTuple):
    """Scores that an expert of the pool is to give. `anchor`: the expert whose responses all others are
    compared with; None = responses are graded one by one, by checks where their question has any."""

    judge: str
    anchor: str | None = None


Scoring = GivenScores | Judging
"""Where the scores of open questions come from; one of them holds for a whole profile."""


class JudgeCheck(NamedTuple):
    """Responses that the judge read twice, in both orders. `agreement`: share of them whose two readings
    agree, within one grade; `difference`: mean difference of the two scores."""

    n: int
    agreement: float
    difference: float


class GradingReport(NamedTuple):
    """Report on the scores behind the cards.

    Attributes:
        n_scored: responses with a score, without those that were empty or failed.
        unscored: experts with responses that have none, and how many.
        overruled: given scores of responses that were empty or failed: these have 0.
        check: of a judge of the pool; None = others gave the scores.
        per_doubling: score gained by a response twice as long as another to the same question; None = not
            known.
    """

    source: GradeSource
    judge: str
    n_scored: int
    unscored: Mapping[str, int]
    overruled: int = 0
    check: JudgeCheck | None = None
    per_doubling: float | None = None
    notes: tuple[str, ...] = ()


class ProfileReport(NamedTuple):
    """Report of a run.

    Attributes:
        unmeasured: experts with questions that only infrastructure errors answered, and how many.
        n_open: questions without an exact answer; `grading`: on their scores, None = there are none.
        failures: the last such error of experts that were asked.
        cut_off: of these, responses without a readable answer that ended at their longest length.
    """

    profile_hash: str
    cards: dict[str, CompetenceCard]
    n_questions: int
    n_asked: int
    n_reused: int
    n_exam_questions: int
    unmeasured: dict[str, int]
    n_open: int = 0
    grading: GradingReport | None = None
    failures: Mapping[str, str] = MappingProxyType({})
    cut_off: Mapping[str, int] = MappingProxyType({})

    @property
    def n_measured(self) -> int:
        """Responses of this run that stand on cards."""
        return self.n_asked - sum(self.unmeasured.values())


class PoolProfiler(Protocol):
    """Keeps the cards of a pool up to date."""

    def run(
        self,
        queries: Sequence[Query],
        *,
        experts: Sequence[str] | None = None,
        exam: bool = True,
        scoring: Scoring | None = None,
        on_progress: Callable[[JobProgress], None] | None = None,
    ) -> ProfileReport:
        """Ask what is not yet known, grade it, and store the cards of every expert with outcomes.

        Args:
            scoring: of open questions; None = the scores of the newest cards' source hold.
        """

    def outcomes(
        self,
        queries: Sequence[Query],
        *,
        experts: Sequence[str],
        on_progress: Callable[[JobProgress], None] | None = None,
    ) -> dict[str, list[int]]:
        """Outcomes of experts on questions, asked where they are not known; no card is counted from them."""

    def score_texts(
        self,
        pairs: Sequence[tuple[Query, str]],
        judge: str,
        *,
        on_progress: Callable[[JobProgress], None] | None = None,
    ) -> list[float | None]:
        """Scores of any answers to open questions by a judge, in order; None = not readable. On no card."""

    def profile(self) -> Profile | None:
        """Outcomes of the pool's answerers on the newest profile set; None before the first run."""
