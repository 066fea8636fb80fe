"""Naive-Bayes vote: each expert counts by the log-odds of its accuracy on the query's skills.

Source: Nitzan and Paroush 1982, the best weights of independent voters between two answers. Where we differ:
C answers, and a confidence that counts on correlated errors (methods 3.2).
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from pydantic import Field, JsonValue

from aggregators.outputs.votes import (
    Ballot,
    Group,
    expert_answer,
    group_equivalent,
    lead,
    no_answer,
    read_ballots,
)
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Done, QueryState, Response
from orchestrator.domain.cards import clipped_accuracy
from orchestrator.domain.queries import Query
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator, Count, Outlook


class WeightedOptions(Options):
    """
    Args:
        wrong_answers: effective number of different wrong answers to a question without options.
        error_correlation: rho in [0, 1]; n votes count as n / (1 + (n − 1) rho) independent ones when
            confidence is computed. 0.4 fits recorded pools of real models; 0 overstates confidence
            there fourfold. The winner does not depend on it.
    """

    wrong_answers: int = Field(default=20, ge=1)
    error_correlation: float = Field(default=0.4, ge=0, le=1)


class Scored(NamedTuple):
    """An answer with the summed weight of its votes, nats."""

    group: Group
    score: float


class _Counted(NamedTuple):
    """The vote as counted; `leader` is the place of the answer that leads, −1 where nobody voted."""

    ballots: list[Ballot]
    scored: list[Scored]
    leader: int

    @property
    def n_votes(self) -> int:
        return sum(len(s.group.ballots) for s in self.scored)


class WeightedVote:
    """Weight of a vote: log(p (C − 1) / (1 − p)), C possible answers, p the expert's accuracy.

    If experts err independently and wrong answers are equally likely, the answer with the largest
    summed weight is the most probable one. Ties: more votes, then the better recruit.
    """

    name = "weighted"

    def __init__(self, context: AggregatorContext, options: WeightedOptions) -> None:
        self._grader = context.grader
        self._options = options

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Done:
        return self._done(state, expert_responses, self._counted(state, expert_responses))

    def count(self, state: QueryState, expert_responses: Sequence[Response]) -> Count:
        counted = self._counted(state, expert_responses)
        return Count(self._outlook(state, counted), partial(self._done, state, expert_responses, counted))

    def _done(self, state: QueryState, responses: Sequence[Response], counted: _Counted) -> Done:
        if not counted.scored:
            return Done(answer=no_answer(self.name, state, responses, counted.ballots))
        n_answers = self._n_answers(state.query)
        answer = expert_answer(
            self.name,
            state,
            responses,
            counted.ballots,
            winner=counted.scored[counted.leader].group.best,
            weight=lambda ballot: log_odds(ballot.accuracy, n_answers),
            confidence=self._confidence(counted, n_answers),
        )
        return Done(answer=answer)

    def _outlook(self, state: QueryState, counted: _Counted) -> Outlook:
        n_answers = self._n_answers(state.query)
        reserves = state.decision.reserves if state.decision else ()
        coming = tuple(log_odds(reserve.accuracy, n_answers) for reserve in reserves)
        if not counted.scored:
            return Outlook(0, 0, 0.0, None, coming)
        return Outlook(
            n_votes=counted.n_votes,
            n_agree=len(counted.scored[counted.leader].group.ballots),
            lead=lead([s.score for s in counted.scored], counted.leader),
            confidence=self._confidence(counted, n_answers),
            next_weights=coming,
        )

    def _counted(self, state: QueryState, responses: Sequence[Response]) -> _Counted:
        ballots = read_ballots(self._grader, state, responses)
        groups = group_equivalent(self._grader, state.query, ballots)
        n_answers = self._n_answers(state.query)
        scored = [Scored(group, summed_log_odds(group, n_answers)) for group in groups]
        standing = [(s.score, len(s.group.ballots)) for s in scored]
        return _Counted(ballots, scored, standing.index(max(standing)) if standing else -1)

    def _confidence(self, counted: _Counted, n_answers: int) -> float:
        scores = [s.score for s in counted.scored]
        independence = _independent_share(counted.n_votes, self._options.error_correlation)
        return posterior(scores[counted.leader], scores, n_answers, independence=independence)

    def _n_answers(self, query: Query) -> int:
        return len(query.options) or self._options.wrong_answers + 1


def log_odds(accuracy: float, n_answers: int) -> float:
    """Evidence of one vote for its answer, nats; 0 for an expert that guesses among `n_answers`.

    Args:
        accuracy: in [0, 1], kept within 0.02 and 0.98.
        n_answers: possible answers, >= 2.
    """
    p = clipped_accuracy(accuracy)
    return math.log(p * (n_answers - 1) / (1 - p))


def summed_log_odds(group: Group, n_answers: int) -> float:
    """Evidence of a group's votes for its answer, nats, to nine digits; `n_answers` >= 2 are possible."""
    # Rounded: sums of equal weights must tie whatever the order they were added in.
    return round(sum(log_odds(b.accuracy, n_answers) for b in group.ballots), 9)


def posterior(score: float, scores: Sequence[float], n_answers: int, *, independence: float = 1.0) -> float:
    """Probability of the answer with `score`: softmax over all scores and the answers nobody gave (0).

    Args:
        score: of the answer, one of `scores`.
        scores: of all answers given, nats; at least one.
        n_answers: possible answers, >= 2.
        independence: in (0, 1], multiplies the scores before the softmax.
    """
    unseen = max(n_answers - len(scores), 0)
    top = max(*scores, 0.0)
    mass = sum(math.exp(independence * (s - top)) for s in scores) + unseen * math.exp(-independence * top)
    return math.exp(independence * (score - top)) / mass


def _independent_share(n_votes: int, error_correlation: float) -> float:
    """Share of n votes that counts, if their errors correlate by rho: 1 / (1 + (n − 1) rho).

    Source: the design effect, Kish 1965.
    """
    return 1 / (1 + (n_votes - 1) * error_correlation)


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `weighted` with its options, `WeightedOptions`.

    Raises:
        ConfigError: an option that it does not have, or a value out of range.
    """
    return WeightedVote(context, parse_options("aggregator 'weighted'", WeightedOptions, options))
