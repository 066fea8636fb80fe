"""Vote with weights learnt from the profile: per expert, local accuracy, form and signs of the response.

The conditional logit of McFadden 1974 (`vote_model`); docs/decisions/0012 and 0046, methods 3.3.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from pydantic import Field, JsonValue

from aggregators.outputs.reading import Reader, ReadTexts
from aggregators.outputs.verifying.linear import SignReader
from aggregators.outputs.vote_fit import LEAST_QUESTIONS, fit_votes
from aggregators.outputs.vote_lesson import N_CONSIDERED
from aggregators.outputs.vote_model import VoteModel, logit
from aggregators.outputs.votes import (
    Ballot,
    Group,
    expert_answer,
    group_equivalent,
    lead,
    no_answer,
    read_ballots,
)
from aggregators.outputs.weighted import WeightedOptions, WeightedVote
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Done, QueryState, Response
from orchestrator.domain.queries import Query
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator, Count, Outlook
from orchestrator.ports.skills import Grader

NOT_LEARNT = (
    "vote weights not learnt: they need the responses to a profile of "
    f"{LEAST_QUESTIONS} questions or more; weighted by accuracy instead"
)


class LearnedOptions(Options):
    """
    Args:
        fallback: options of the `weighted` vote that is used where nothing can be learnt.
    """

    fallback: dict[str, JsonValue] = Field(default_factory=dict)


class _Counted(NamedTuple):
    """The vote as counted: each ballot's weight (0 for abstentions) and what its text added, the answers with
    their summed weights, and the one that leads."""

    ballots: list[Ballot]
    weights: list[float]
    evidence: list[float]
    groups: list[Group]
    scores: list[float]
    leader: int

    @property
    def n_votes(self) -> int:
        return sum(len(group.ballots) for group in self.groups)

    def weight(self, ballot: Ballot) -> float:
        return self.weights[self.ballots.index(ballot)]


class LearnedVote:
    """The answer with the largest summed weight. Ties: more votes, then the better recruit.

    An expert that was not in the profile counts by its accuracy in the decision. Confidence is calibrated
    inside the profile.

    Args:
        read_texts: reads the texts for evidence, which is listed in the answer's extras; None = nothing does.
        name: that of the aggregator that votes so.
    """

    def __init__(
        self,
        grader: Grader,
        model: VoteModel,
        *,
        read_texts: ReadTexts | None = None,
        name: str = "learned",
    ) -> None:
        self.name = name
        self._grader = grader
        self._model = model
        self._read_texts = read_texts

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Done:
        return self._done(state, expert_responses, self._counted(state, expert_responses))

    def count(self, state: QueryState, expert_responses: Sequence[Response]) -> Count:
        counted = self._counted(state, expert_responses)
        return Count(self._outlook(state, counted), partial(self._done, state, expert_responses, counted))

    def _done(self, state: QueryState, responses: Sequence[Response], counted: _Counted) -> Done:
        if not counted.groups:
            return Done(answer=no_answer(self.name, state, responses, counted.ballots))
        answer = expert_answer(
            self.name,
            state,
            responses,
            counted.ballots,
            winner=counted.groups[counted.leader].best,
            weight=counted.weight,
            confidence=self._confidence(state, counted),
        )
        if self._read_texts is None:
            return Done(answer=answer)
        return Done(answer=answer.model_copy(update={"extras": {"evidence": _listed(counted)}}))

    def _outlook(self, state: QueryState, counted: _Counted) -> Outlook:
        reserves = state.decision.reserves if state.decision else ()
        coming = tuple(self._model.weight(r.expert_id, r.accuracy, None) for r in reserves)
        if not counted.groups:
            return Outlook(0, 0, 0.0, None, coming)
        return Outlook(
            n_votes=counted.n_votes,
            n_agree=len(counted.groups[counted.leader].ballots),
            lead=lead(counted.scores, counted.leader),
            confidence=self._confidence(state, counted),
            next_weights=coming,
        )

    def _counted(self, state: QueryState, responses: Sequence[Response]) -> _Counted:
        ballots = read_ballots(self._grader, state, responses)
        groups = group_equivalent(self._grader, state.query, ballots)
        evidence = self._evidence(state.query, ballots)
        weights = [self._weight(state.query, ballot, e) for ballot, e in zip(ballots, evidence, strict=True)]
        # Rounded: sums of equal weights must tie whatever the order they were added in.
        scores = [round(sum(weights[ballots.index(b)] for b in group.ballots), 9) for group in groups]
        standing = [(score, len(group.ballots)) for score, group in zip(scores, groups, strict=True)]
        leader = standing.index(max(standing)) if standing else -1
        return _Counted(ballots, weights, evidence, groups, scores, leader)

    def _evidence(self, query: Query, ballots: Sequence[Ballot]) -> list[float]:
        if self._read_texts is None:
            return [0.0] * len(ballots)
        found = iter(self._read_texts(query, [b for b in ballots if b.value is not None]))
        return [0.0 if b.value is None else next(found) for b in ballots]

    def _weight(self, query: Query, ballot: Ballot, evidence: float) -> float:
        if ballot.value is None:
            return 0.0
        return self._model.weight(
            ballot.expert_id,
            ballot.accuracy,
            len(ballot.response.text),
            evidence,
            option=ballot.value if query.options else None,
        )

    def _confidence(self, state: QueryState, counted: _Counted) -> float:
        return self._model.probability(
            counted.scores,
            n_options=len(state.query.options),
            n_votes=counted.n_votes,
            ease=ease(state),
            leader=counted.leader,
        )


class UnlearntVote:
    """The `weighted` vote under this name, with a note that says why."""

    name = "learned"

    def __init__(self, inner: WeightedVote) -> None:
        self._inner = inner

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Done:
        return self._noted(self._inner.step(state, expert_responses))

    def count(self, state: QueryState, expert_responses: Sequence[Response]) -> Count:
        count = self._inner.count(state, expert_responses)
        return count._replace(done=lambda: self._noted(count.done()))

    def _noted(self, done: Done) -> Done:
        notes = (*done.answer.notes, NOT_LEARNT)
        return Done(answer=done.answer.model_copy(update={"aggregator": self.name, "notes": notes}))


def _listed(counted: _Counted) -> dict[str, JsonValue]:
    """Evidence by expert; further samples of one are `id#1`, `id#2`."""
    listed: dict[str, JsonValue] = {}
    for ballot, evidence in zip(counted.ballots, counted.evidence, strict=True):
        if ballot.value is not None:
            sample = ballot.response.sample_ix
            listed[f"{ballot.expert_id}#{sample}" if sample else ballot.expert_id] = round(evidence, 3)
    return listed


def ease(state: QueryState) -> float:
    """Mean logit of the accuracies of the best six experts considered, asked or not, nats; 0 without any."""
    decision = state.decision
    considered = (*decision.recruits, *decision.reserves)[:N_CONSIDERED] if decision else ()
    return sum(logit(r.accuracy) for r in considered) / max(len(considered), 1)


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `learned` with its options, `LearnedOptions`; learns from the context's profile.

    Raises:
        ConfigError: an option that it or the `weighted` vote behind it lacks, or a value out of range.
    """
    parsed = parse_options("aggregator 'learned'", LearnedOptions, options)
    fallback = parse_options("aggregator 'learned', fallback", WeightedOptions, parsed.fallback)
    model = None if context.profile is None else fit_votes(context.profile)
    if model is None:
        return UnlearntVote(WeightedVote(context, fallback))
    read_texts = None if model.signs is None else Reader(SignReader(model.signs))
    return LearnedVote(context.grader, model, read_texts=read_texts)
