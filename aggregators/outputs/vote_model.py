"""Weights of votes, as `learned` has them, and the probability that they give an answer.

A conditional logit (McFadden 1974): answer a of a query is right with probability exp(S_a) / (Σ_b exp(S_b) +
exp(S_none)), S_a the summed weights of its votes, S_none the standing of "none of the given answers". How
the numbers are learnt: `vote_fit`.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from orchestrator.domain.cards import clipped_accuracy

WIDEST = 3.0
"""Lengths and signs count up to so many spreads from what is usual."""


class Habit(NamedTuple):
    """Usual length of an expert's responses: median and spread (> 0) of log(1 + characters)."""

    typical: float
    spread: float


class VoteWeights(NamedTuple):
    """A vote's weight, nats: bias + slope · logit(accuracy) + what the length says + trust · evidence +
    lean · leaning.

    `length`, `off`, `long` multiply the length in spreads from the usual, its size, and its excess over 1;
    `trust` what was found in the text; `lean` how much the expert leans towards the option that it states.
    """

    bias: float
    slope: float
    length: float
    off: float
    long: float
    trust: float = 0.0
    lean: float = 0.0


class NoneWeights(NamedTuple):
    """Standing of "none of the given answers is right", nats.

    `choice` or `open`, whether the query has options; `unseen` times the log number of options that nobody
    gave; `ease` times the mean logit accuracy of the experts considered; `votes` times the number of votes.
    """

    choice: float
    open: float
    unseen: float
    ease: float
    votes: float


class Calibration(NamedTuple):
    """Added to the log-odds of the leading answer: if it has the only vote, if it has the only two, and per
    log number of votes if it has all of more, or if other answers were given.

    The leader of many votes is less sure than the vote says: it leads because it was lucky, too.
    """

    one: float
    two: float
    unopposed: float
    opposed: float

    def shift(self, n_votes: int, n_answers: int) -> float:
        """Nats to add to the leader's log-odds, given so many votes and different answers, >= 1 each."""
        return sum(c * x for c, x in zip(self, calibration_features(n_votes, n_answers), strict=True))


class SignWeights(NamedTuple):
    """Nats by sign of a text, in spreads from its mean over the profile's responses; C of each."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    spreads: tuple[float, ...]

    def nats(self, row: Sequence[float]) -> float:
        """Sum of what a text's signs say for its answer, nats; a missing one (NaN) says nothing.

        Args:
            row: C numbers.
        """
        terms = zip(self.weights, _scaled(row, self.means, self.spreads), strict=True)
        return math.fsum(weight * sign for weight, sign in terms)


class VoteModel(NamedTuple):
    """
    Attributes:
        common: of an expert that was not in the profile.
        experts, habits: by expert id.
        leanings: by expert id and letter of an option, nats: log of how often the expert states it when it is
            wrong, against chance.
        signs: None = texts are not read.
    """

    common: VoteWeights
    experts: Mapping[str, VoteWeights]
    habits: Mapping[str, Habit]
    none: NoneWeights
    calibration: Calibration
    leanings: Mapping[str, Mapping[str, float]] = MappingProxyType({})
    signs: SignWeights | None = None

    def weight(
        self,
        expert_id: str,
        accuracy: float,
        n_chars: int | None,
        evidence: float = 0.0,
        option: str | None = None,
    ) -> float:
        """Weight of one vote, nats.

        Args:
            accuracy: the decision's for this expert on this query, in [0, 1].
            n_chars: length of the response; None = not known yet, taken to be the expert's usual.
            evidence: log-odds of being right that the text adds to the accuracy's; 0 = not known.
            option: letter that it states; None = not known yet, or the query has no options.
        """
        weights = self.experts.get(expert_id, self.common)
        z = 0.0 if n_chars is None else self._length(expert_id, n_chars)
        of_length = weights.length * z + weights.off * abs(z) + weights.long * max(z - 1, 0.0)
        of_text = weights.trust * evidence
        of_leaning = weights.lean * self._leaning(expert_id, option)
        return weights.bias + weights.slope * logit(accuracy) + of_length + of_text + of_leaning

    def _leaning(self, expert_id: str, option: str | None) -> float:
        of_expert = self.leanings.get(expert_id, {})
        return 0.0 if option is None else of_expert.get(option, 0.0)

    def _length(self, expert_id: str, n_chars: int) -> float:
        habit = self.habits.get(expert_id)
        if habit is None:
            return 0.0
        return min(max((math.log1p(n_chars) - habit.typical) / habit.spread, -WIDEST), WIDEST)

    def probability(
        self, scores: Sequence[float], *, n_options: int, n_votes: int, ease: float, leader: int
    ) -> float:
        """Calibrated probability that answer `leader` is right, in (0, 1).

        Args:
            scores: summed weight of each answer given, at least one.
            n_options: of the query; 0 = an open question.
            n_votes: >= 1, readable responses.
            ease: mean logit of the accuracies of the experts considered, nats.
            leader: place of the answer in `scores`.
        """
        none = _standing_of_none(self.none, n_options, len(scores), n_votes, ease)
        top = max(*scores, none)
        mass = math.fsum(math.exp(score - top) for score in (*scores, none))
        raw = math.exp(scores[leader] - top) / mass
        return 1 / (1 + math.exp(-(_log_odds_of(raw) + self.calibration.shift(n_votes, len(scores)))))


def _scaled(row: Sequence[float], means: Sequence[float], spreads: Sequence[float]) -> list[float]:
    """Signs in spreads from their means, at most `WIDEST`; 0 where missing (NaN)."""
    numbers = zip(row, means, spreads, strict=True)
    return [0.0 if math.isnan(x) else min(max((x - m) / s, -WIDEST), WIDEST) for x, m, s in numbers]


def _standing_of_none(
    weights: NoneWeights, n_options: int, n_answers: int, n_votes: int, ease: float
) -> float:
    form = weights.choice + weights.unseen * log_unseen(n_options, n_answers) if n_options else weights.open
    return form + weights.ease * ease + weights.votes * n_votes


def calibration_features(n_votes: int, n_answers: int) -> tuple[float, ...]:
    """Features of the calibration: what each number of `Calibration` multiplies, in its order.

    Args:
        n_votes, n_answers: votes and different answers given, >= 1 each.
    """
    logs = math.log(n_votes)
    if n_answers > 1:
        return (0.0, 0.0, 0.0, logs)
    return (float(n_votes == 1), float(n_votes == 2), logs if n_votes > 2 else 0.0, 0.0)


def log_unseen(n_options: int, n_answers: int) -> float:
    """Log of the number of options that nobody gave, nats; of half an option where all were given: somebody
    may have misread them.

    Args:
        n_options: of the query, >= 2.
    """
    return math.log(max(n_options - n_answers, 0.5))


def logit(accuracy: float) -> float:
    """log(p / (1 − p)), nats, of an accuracy in [0, 1] that is kept within 0.02 and 0.98."""
    p = clipped_accuracy(accuracy)
    return math.log(p / (1 - p))


def _log_odds_of(probability: float) -> float:
    p = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))
