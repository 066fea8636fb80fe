"""Cards, profile outcomes and feedback as they are stored."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from orchestrator.domain.cards import ABSTAINED, CompetenceCard, DatedCard
from orchestrator.domain.feedback import Feedback, FeedbackCount
from orchestrator.domain.grades import NO_SCORE, GradeSource, GradeTally
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag


class OutcomeRow(NamedTuple):
    """One graded profile response, kept so that profiling is incremental."""

    fingerprint: str
    query_hash: str
    outcome: int
    value: str | None
    text: str
    completion_tokens: int
    latency_ms: float

    def score(self, given: float | None) -> float | None:
        """Score of the response to an open question; 0 of an abstention, whatever was given."""
        return NO_SCORE if self.outcome == ABSTAINED else given


class ScoreRow(NamedTuple):
    """Score in [0, 1] of one expert's response to one open question.

    Attributes:
        judge: who gave it; "" = not told.
        basis: hash of all that it depends on, so that one that still holds is not asked for again; "" = it
            was given from outside.
    """

    source: GradeSource
    judge: str
    fingerprint: str
    query_hash: str
    score: float
    basis: str = ""


ScoreKey = tuple[GradeSource, str, str, str]
"""Source, judge, fingerprint and query hash of a score."""


class CardStore(Protocol):
    """Profile outcomes, scores and competence cards, by expert fingerprint and profile hash."""

    def known_outcomes(self, fingerprint: str, query_hashes: Sequence[str]) -> dict[str, OutcomeRow]:
        """Last outcomes of one expert on these questions, by query hash; those without one are left out."""

    def save_outcomes(self, rows: Sequence[OutcomeRow]) -> None:
        """Store outcomes, all or nothing; one of the same expert and question is replaced."""

    def known_scores(
        self, source: GradeSource, judge: str, fingerprint: str, query_hashes: Sequence[str]
    ) -> dict[str, ScoreRow]:
        """Scores of one expert by one judge, by query hash."""

    def save_scores(self, rows: Sequence[ScoreRow], *, forgotten: Sequence[ScoreKey] = ()) -> None:
        """Store scores and drop the forgotten ones, all or nothing; a score of the same key is replaced."""

    def save_card(self, card: CompetenceCard) -> None:
        """Add a card: the newest of its expert and profile set counts, older ones stay until a `vacuum`."""

    def cards(self, profile_hash: str | None = None) -> dict[str, CompetenceCard]:
        """Newest card per expert id: of one profile set, by default of the one that was given a card last."""

    def save_profile_set(
        self, profile_hash: str, queries: Sequence[Query], skills: Sequence[tuple[SkillTag, ...]]
    ) -> None:
        """Store or replace the questions of a profile set, with the skills of each; it is the newest then."""

    def profile_set(self, profile_hash: str) -> list[tuple[Query, tuple[SkillTag, ...]]] | None:
        """Questions of a profile set, each with its skills, in their order; None = there is no such set."""

    def latest_profile_hash(self) -> str | None:
        """Hash of the profile set that was stored last; None = there is none."""


class CardHistory(Protocol):
    """Cards that were measured before."""

    def history(self, expert_id: str, *, limit: int) -> list[DatedCard]:
        """Cards of an expert on each question set that it was profiled on: the newest of each, the last one
        first."""

    def dates(self, profile_hash: str) -> dict[str, float]:
        """Seconds since 1970 at which the newest card of each expert on a question set was stored, by expert;
        those from before dates were kept are left out."""


class FeedbackStore(Protocol):
    """Judgements of answers; a judgement is unique on (job, query, key)."""

    def save_feedback(self, feedback: Feedback, counts: Sequence[FeedbackCount]) -> Feedback:
        """Store a judgement and add its counts up, or neither where its key is taken; returns what is
        stored under that key."""

    def feedback_counts(self, fingerprints: Sequence[str], *, since_day: int) -> list[FeedbackCount]:
        """Counts of feedback on these experts, by skill and day.

        Args:
            since_day: first day, counted since 1970 (UTC).
        """

    def feedback_grades(self, fingerprints: Sequence[str]) -> dict[str, GradeTally]:
        """Scores that users gave answers to open questions (source `feedback`), by fingerprint; those without
        one are left out."""
