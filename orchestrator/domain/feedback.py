"""Feedback: what users say of answers, and what that says of the experts: decayed counts on cards, and drift.

Days are whole days since 1970 (UTC). Feedback is counted per expert fingerprint, skill and day, so that what
is kept does not grow with the number of answers judged.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pydantic import Field

from orchestrator.domain.cards import CompetenceCard, Tally, beta_parameters, shrunk_posterior, summed
from orchestrator.domain.posteriors import Interval
from orchestrator.domain.values import Value

DAY_S = 86_400
WEEK_DAYS = 7
ALL_SKILLS = ""
"""The name under which every judged answer is counted, whatever its skills."""

INTERVAL_MASS = 0.9


class Feedback(Value):
    """A judgement of one answer.

    Attributes:
        key: tells judgements of one answer apart; the same key counts once.
        score: in [0, 1]; 1 = right.
        day: when it was first given.
        experts: what it says of each expert that took part, in shares of one observation; nothing is said
            of one that is missing or whose tally is empty.
    """

    job_id: str
    query_id: str
    key: str = ""
    score: float = Field(ge=0, le=1)
    day: int
    experts: dict[str, Tally] = Field(default_factory=dict)


class FeedbackCount(NamedTuple):
    """Judged answers of one expert on one day that needed one skill."""

    fingerprint: str
    skill: str
    day: int
    tally: Tally


class Opinion(NamedTuple):
    """One response beside the final answer. `agrees` None = it abstained by itself."""

    expert_id: str
    agrees: bool | None


class Decay(NamedTuple):
    """Fading of old feedback.

    Attributes:
        half_life_days: > 0; after so many days an observation counts half.
        today: the day as of which it is counted.
    """

    half_life_days: float
    today: int

    def weight(self, day: int) -> float:
        """Weight in (0, 1] of what was judged on a `day`; one to come (a clock runs ahead) is as today."""
        return float(0.5 ** (max(self.today - day, 0) / self.half_life_days))


class Judged(NamedTuple):
    """Judged answers of one expert in a week: `day` is its first one, counted since 1970."""

    day: int
    tally: Tally


class Drift(NamedTuple):
    """A recent window of feedback that the history of a card does not explain.

    Attributes:
        skill: ALL_SKILLS = the card as a whole.
        recent: share of right answers in the window; `n` answers were judged, from `first_day` to
            `last_day`, counted since 1970 (UTC).
        expected: accuracy by the history.
        interval: where the share of n answers lies with 90 % probability by the history.
    """

    expert_id: str
    skill: str
    recent: float
    n: float
    expected: float
    interval: Interval
    first_day: int
    last_day: int


def judge_experts(opinions: Iterable[Opinion], score: float) -> dict[str, Tally]:
    """Evidence of a judged answer about those who took part.

    Who said what the answer says is right as far as the answer is. Who said something else was wrong as far
    as the answer is right; if it is wrong, nobody knows. An expert with several responses counts once, by
    their mean.

    Args:
        score: in [0, 1], how right the answer is.
    """
    of_expert: dict[str, list[Tally]] = {}
    for opinion in opinions:
        of_expert.setdefault(opinion.expert_id, []).append(_judged(opinion, score))
    return {expert_id: scaled(summed(tallies), 1 / len(tallies)) for expert_id, tallies in of_expert.items()}


def _judged(opinion: Opinion, score: float) -> Tally:
    if opinion.agrees is None:
        return Tally(n_abstain=1)
    if opinion.agrees:
        return Tally(n_right=score, n_wrong=1 - score)
    return Tally(n_wrong=score)


def scaled(tally: Tally, factor: float) -> Tally:
    """The tally as if each observation had counted `factor` times; >= 0."""
    return Tally(
        n_right=tally.n_right * factor, n_wrong=tally.n_wrong * factor, n_abstain=tally.n_abstain * factor
    )


def decayed(counts: Iterable[FeedbackCount], decay: Decay) -> dict[str, Tally]:
    """Weighted counts by skill."""
    parts: dict[str, list[Tally]] = {}
    for count in counts:
        parts.setdefault(count.skill, []).append(scaled(count.tally, decay.weight(count.day)))
    return {skill: summed(tallies) for skill, tallies in sorted(parts.items())}


def with_feedback(card: CompetenceCard, counts: Sequence[FeedbackCount], decay: Decay) -> CompetenceCard:
    """The measured card and the decayed feedback for its fingerprint, added up."""
    added = decayed([count for count in counts if count.fingerprint == card.fingerprint], decay)
    if not added:
        return card
    overall = added.pop(ALL_SKILLS, Tally())
    skills = {name: summed([card.skills.get(name, Tally()), tally]) for name, tally in added.items()}
    return card.replaced(
        total=summed([card.total, overall]),
        skills={**card.skills, **skills},
        feedback=overall,
        feedback_skills=added,
    )


def by_week(counts: Iterable[FeedbackCount]) -> list[Judged]:
    """Judged answers, whatever their skills, week by week, the oldest first; weeks without any are left out,
    and nothing fades."""
    weeks: dict[int, list[Tally]] = {}
    for count in counts:
        if count.skill == ALL_SKILLS:
            weeks.setdefault(count.day - count.day % WEEK_DAYS, []).append(count.tally)
    return [Judged(day, summed(tallies)) for day, tallies in sorted(weeks.items())]


def drifts(
    card: CompetenceCard,
    counts: Sequence[FeedbackCount],
    decay: Decay,
    *,
    window_days: int,
    min_answers: int,
) -> list[Drift]:
    """Skills, and the card as a whole, whose recent feedback leaves the 90 % interval of their history.

    The history is the measured card with the feedback from before the window, decayed to its first day. The
    interval is that of the number of right answers among n (beta-binomial), so that a short window must be
    further off than a long one. In the spirit of DriftMoE, arXiv:2507.18464; the test is ours. Of many
    skills that did not change, up to one in ten is listed.

    Args:
        card: as measured, without feedback.
        window_days: >= 1; the window ends today.
        min_answers: smaller windows are not judged.
    """
    mine = [count for count in counts if count.fingerprint == card.fingerprint]
    first = decay.today - window_days + 1
    history = with_feedback(card, [c for c in mine if c.day < first], decay._replace(today=first))
    lately = [count for count in mine if count.day >= first]
    found = [
        _drift(history, skill, tally, [count.day for count in lately if count.skill == skill])
        for skill, tally in sorted(_undecayed(lately).items())
        if tally.n >= min_answers
    ]
    return [drift for drift in found if drift is not None]


def _undecayed(counts: Iterable[FeedbackCount]) -> dict[str, Tally]:
    return decayed((count._replace(day=0) for count in counts), Decay(1.0, 0))


def _drift(history: CompetenceCard, skill: str, recent: Tally, days: Sequence[int]) -> Drift | None:
    known = history.total if skill == ALL_SKILLS else history.skills.get(skill, Tally())
    overall = shrunk_posterior(history.total, prior_mean=0.5, prior_strength=2.0).mean
    prior_mean = 0.5 if skill == ALL_SKILLS else overall
    a, b = beta_parameters(known, prior_mean=prior_mean)
    low, high = right_interval(a, b, max(round(recent.n), 1))
    if low <= recent.accuracy <= high:
        return None
    interval = Interval(low, high)
    return Drift(
        history.expert_id, skill, recent.accuracy, recent.n, a / (a + b), interval, min(days), max(days)
    )


def right_interval(a: float, b: float, n: int) -> Interval:
    """Central interval of the share of right answers among n when the accuracy is Beta(a, b); n >= 1.

    The quantiles of the beta-binomial distribution at 5 % and 95 %, over n.
    """
    tail = (1 - INTERVAL_MASS) / 2
    low, cumulated = 0, 0.0
    for k in range(n + 1):
        cumulated += _beta_binomial(k, n, a, b)
        if cumulated < tail:
            low = k + 1
        if cumulated >= 1 - tail:
            return Interval(low / n, k / n)
    return Interval(low / n, 1.0)  # the last digits of the sum may be missing


def _beta_binomial(k: int, n: int, a: float, b: float) -> float:
    choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(choose + _log_beta(k + a, n - k + b) - _log_beta(a, b))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
