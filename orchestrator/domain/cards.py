"""Knowledge about an expert: competence cards, and the profile they were counted from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from orchestrator.domain.grades import Grades, GradeTally, Origin
from orchestrator.domain.posteriors import Posterior, beta_interval, clipped_mean
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag
from orchestrator.domain.values import Value, content_hash

CARD_SCHEMA = 1

RIGHT, WRONG, ABSTAINED, UNKNOWN = 1, 0, -1, -2
"""Outcome of one expert on one profile question."""

GRADED = 2
"""Outcome of a response that is worth a score, not right or wrong: measured, and counted in no tally."""

LEAST_ACCURACY, MOST_ACCURACY = 0.02, 0.98
"""Accuracies are clipped: no single expert may decide alone, whatever its card says."""

FloatMatrix = npt.NDArray[np.float32]
OutcomeMatrix = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]


class Tally(Value):
    """Counts of graded responses; never only a float, so that intervals can be given."""

    n_right: float = Field(default=0, ge=0)
    n_wrong: float = Field(default=0, ge=0)
    n_abstain: float = Field(default=0, ge=0)

    @property
    def n(self) -> float:
        """Observations, 0 or more; of feedback that faded also parts of one."""
        return self.n_right + self.n_wrong + self.n_abstain

    @property
    def paper_score(self) -> float:
        """n_right − n_wrong (arXiv:2503.05641), from −n to n; an abstention is not right: it counts as
        wrong."""
        return self.n_right - self.n_wrong - self.n_abstain

    @property
    def accuracy(self) -> float:
        """Share of right ones among all observations, abstentions included; 0 of none."""
        return self.n_right / self.n if self.n else 0.0

    def minus(self, other: "Tally") -> "Tally":
        """The tally before `other` was added; never below 0, where rounding would have it."""
        return Tally(
            n_right=max(self.n_right - other.n_right, 0),
            n_wrong=max(self.n_wrong - other.n_wrong, 0),
            n_abstain=max(self.n_abstain - other.n_abstain, 0),
        )

    def plus(self, outcome: int) -> "Tally":
        """The tally with one more outcome: `RIGHT`, `WRONG` or `ABSTAINED`; any other leaves it as it is."""
        return Tally(
            n_right=self.n_right + (outcome == RIGHT),
            n_wrong=self.n_wrong + (outcome == WRONG),
            n_abstain=self.n_abstain + (outcome == ABSTAINED),
        )


def clipped_accuracy(accuracy: float) -> float:
    """An `accuracy` kept between `LEAST_ACCURACY` and `MOST_ACCURACY`, so that its log-odds are finite."""
    return min(max(accuracy, LEAST_ACCURACY), MOST_ACCURACY)


class CompetenceCard(Value):
    """Per-skill tallies of one expert on one profile set.

    `outcomes_hash` pins the raw per-question outcomes, `profile_hash` the questions and their skill
    annotation. `aggregation` holds the tallies of the aggregator exam, per domain (methods
    1.4). `mean_tokens` counts generated tokens per query, `mean_latency_ms` engine time per query.
    `graded`: scores on the profile's open questions, which are in no tally; None = nothing was scored.
    `feedback` and `feedback_skills`: the parts of `total` and `skills` that users' feedback adds (methods
    1.5), and `feedback_grades`, what it says of answers to open questions; never stored.
    """

    schema_version: int = CARD_SCHEMA
    expert_id: str
    fingerprint: str
    profile_hash: str
    outcomes_hash: str
    total: Tally
    skills: dict[str, Tally]
    domains: dict[str, Tally] = Field(default_factory=dict)
    aggregation: dict[str, Tally] = Field(default_factory=dict)
    mean_tokens: float = Field(default=0.0, ge=0)
    mean_latency_ms: float = Field(default=0.0, ge=0)
    cost_per_query: float = Field(default=0.0, ge=0)
    feedback: Tally = Tally()
    feedback_skills: dict[str, Tally] = Field(default_factory=dict)
    graded: Grades | None = None
    feedback_grades: GradeTally = GradeTally()

    @cached_property
    def hash(self) -> str:
        """Hash of all that is on the card, feedback included."""
        # Cards are older than feedback and grades are; what feedback adds to skills is in `skills`.
        newer = {
            "feedback": self.feedback.n,
            "graded": self.graded,
            "feedback_grades": self.feedback_grades.n,
        }
        left_out = {"feedback_skills", *(name for name, value in newer.items() if not value)}
        return content_hash(self.model_dump(mode="json", exclude=left_out))

    @property
    def aggregation_total(self) -> Tally:
        """Outcomes of the aggregator exam, over all domains."""
        return summed(self.aggregation.values())

    @property
    def without_feedback(self) -> Self:
        """The card as measured. A skill that only feedback knows of stays, with no observations."""
        judged = self.feedback_skills
        skills = {name: tally.minus(judged.get(name, Tally())) for name, tally in self.skills.items()}
        return self.replaced(
            total=self.total.minus(self.feedback),
            skills=skills,
            feedback=Tally(),
            feedback_skills={},
            feedback_grades=GradeTally(),
        )


class DatedCard(NamedTuple):
    """A card as it was stored, at `at_s` seconds since 1970; None = before dates were kept."""

    card: CompetenceCard
    at_s: float | None


def summed(tallies: Iterable[Tally]) -> Tally:
    """The tallies added up; empty of none."""
    parts = tuple(tallies)
    return Tally(
        n_right=sum(t.n_right for t in parts),
        n_wrong=sum(t.n_wrong for t in parts),
        n_abstain=sum(t.n_abstain for t in parts),
    )


def grade_origin(cards: Iterable[CompetenceCard]) -> Origin | None:
    """Origin of the grades on the cards of one profile; None = none of them has any."""
    return next((card.graded.origin for card in cards if card.graded is not None), None)


def measured_version(cards: Mapping[str, CompetenceCard]) -> str:
    """Version of what was measured for these cards, whatever users' feedback adds since."""
    return content_hash(
        sorted(
            [
                card.fingerprint,
                card.profile_hash,
                card.outcomes_hash,
                card.model_dump(mode="json", include={"aggregation", *(["graded"] if card.graded else [])}),
            ]
            for card in cards.values()
        )
    )


def deck_hash(cards: Mapping[str, CompetenceCard]) -> str:
    """The card version that a decision records."""
    return content_hash(sorted(card.hash for card in cards.values()))


def shrunk_posterior(tally: Tally, *, prior_mean: float, prior_strength: float = 4.0) -> Posterior:
    """Beta posterior with an empirical-Bayes prior centred on `prior_mean` (the expert's global accuracy).

    Beta(a0 + n_right, b0 + n_wrong) with a0 = prior_mean·prior_strength. Abstentions count as not
    right. The 90 % interval uses exact Beta quantiles.

    Args:
        prior_mean: in [0, 1]; clipped to [0.01, 0.99].
        prior_strength: > 0, pseudo-observations.
    """
    a, b = beta_parameters(tally, prior_mean=prior_mean, prior_strength=prior_strength)
    low, high = beta_interval(a, b)
    return Posterior(a / (a + b), low, high, tally.n)


class BetaParameters(NamedTuple):
    a: float
    b: float


def beta_parameters(tally: Tally, *, prior_mean: float, prior_strength: float = 4.0) -> BetaParameters:
    """The posterior of `shrunk_posterior` (`prior_mean`, `prior_strength`: as there), without quantiles."""
    mean0 = clipped_mean(prior_mean)
    return BetaParameters(
        mean0 * prior_strength + tally.n_right,
        (1 - mean0) * prior_strength + tally.n_wrong + tally.n_abstain,
    )


def tally(outcomes: Iterable[int]) -> Tally:
    """Counts of outcomes (`RIGHT`, `WRONG`, `ABSTAINED`); others are not counted."""
    values = [int(v) for v in outcomes]
    return Tally(n_right=values.count(RIGHT), n_wrong=values.count(WRONG), n_abstain=values.count(ABSTAINED))


@dataclass(frozen=True)
class Transcript:
    """The pool's responses to the profile questions: vote weights and verifiers are learnt from it.

    Attributes:
        queries: the questions with their reference answers, Q.
        values: canonical answers, [E][Q]; None = abstained, or not measured.
        chars: int32 [E, Q], length of each response's text.
        texts: [E][Q], or empty where the texts were not kept.
    """

    queries: tuple[Query, ...]
    values: tuple[tuple[str | None, ...], ...]
    chars: npt.NDArray[np.int32]
    texts: tuple[tuple[str, ...], ...] = ()

    def taken(self, columns: Sequence[int]) -> "Transcript":
        """The transcript of some of its questions, in this order."""
        at = list(columns)
        return Transcript(
            queries=tuple(self.queries[c] for c in at),
            values=tuple(tuple(of_expert[c] for c in at) for of_expert in self.values),
            chars=self.chars[:, at],
            texts=tuple(tuple(of_expert[c] for c in at) for of_expert in self.texts),
        )


@dataclass(frozen=True, eq=False)
class Profile:
    """Outcomes of a pool on a labelled question set: what cards and data-driven routers are fitted on.

    Compared by identity, so that what is fitted on a profile can be kept for it.

    Attributes:
        expert_ids: E experts, row order of `outcomes`.
        query_hashes: Q content hashes, column order.
        texts: question texts, Q.
        skills: matched skills of each question, Q.
        domains: label of each question or "", Q; for reports and the aggregator exam only.
        outcomes: int8 [E, Q]; RIGHT, WRONG, ABSTAINED, GRADED or UNKNOWN (not measured).
        embeddings: float32 [Q, D], unit length.
        transcript: the responses that were graded; None = only their outcomes are known.
        scores: float32 [E, Q] in [0, 1] by one source, nan where there is none; None = nothing was scored.
    """

    expert_ids: tuple[str, ...]
    query_hashes: tuple[str, ...]
    texts: tuple[str, ...]
    skills: tuple[tuple[SkillTag, ...], ...]
    domains: tuple[str, ...]
    outcomes: OutcomeMatrix
    embeddings: FloatMatrix
    transcript: Transcript | None = None
    scores: FloatMatrix | None = None

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """bool [E, Q]; abstentions and unknowns are not right."""
        return np.asarray(self.outcomes == RIGHT)

    @cached_property
    def is_open(self) -> Bools:
        """bool [Q]; True for questions whose answers are worth a score."""
        if self.transcript is not None:
            return np.array([q.answer_type.is_graded for q in self.transcript.queries], dtype=bool)
        scored = False if self.scores is None else ~np.isnan(self.scores).all(axis=0)
        return np.asarray((self.outcomes == GRADED).any(axis=0) | scored)

    @cached_property
    def exact(self) -> "Profile | None":
        """The part with exact answers, for what counts right and wrong; None = there is none of them."""
        return self._only(~self.is_open)

    @cached_property
    def open(self) -> "Profile | None":
        """The part with open questions; None = there is none of them."""
        return self._only(self.is_open)

    def _only(self, kept: Bools) -> "Profile | None":
        """The same profile where all is kept, so that what was fitted on it is found again."""
        if kept.all():
            return self
        columns = np.flatnonzero(kept).tolist()
        return self.taken(columns) if columns else None

    def taken(self, columns: Sequence[int]) -> "Profile":
        """The profile of some of its questions, in this order."""
        at = list(columns)
        return Profile(
            expert_ids=self.expert_ids,
            query_hashes=tuple(self.query_hashes[c] for c in at),
            texts=tuple(self.texts[c] for c in at),
            skills=tuple(self.skills[c] for c in at),
            domains=tuple(self.domains[c] for c in at),
            outcomes=self.outcomes[:, at],
            embeddings=self.embeddings[at],
            transcript=None if self.transcript is None else self.transcript.taken(at),
            scores=None if self.scores is None else self.scores[:, at],
        )
