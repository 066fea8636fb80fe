"""Votes weighed so that they agree with themselves under two views of each question; learnt without labels.

Idea: "Self-Supervised Aggregation of Diverse Experts", arXiv:2107.09249, for classifiers of pictures; here
the views are the question and its permutation (or another temperature). Weights are those of the job's
queries so far; docs/decisions/0031.

Shapes: E experts.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field, JsonValue

from aggregators.outputs.asking import Desk, Reading, failures, rounds
from aggregators.outputs.choice_shuffle import own_letters
from aggregators.outputs.permuting import Permutation, drawn, permuted, read_permuted
from aggregators.outputs.recent import Recent
from aggregators.outputs.votes import Ballot, read_ballots
from orchestrator import prompts
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Ask, Call, CallRole, Done, QueryState, Response
from orchestrator.domain.cards import shrunk_posterior
from orchestrator.domain.queries import AnswerType
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator, InFlight

NAME = "stability"

Floats = npt.NDArray[np.float64]


class StabilityOptions(Options):
    """
    Args:
        steps: of projected gradient ascent.
        rate: of each step; made smaller where the agreement could fall otherwise.
        temperature: of the second view of a question without options.
        least_questions: of the job with two views, so far, below which weights are the cards'.
        min_agree: readable answers that must all agree for nobody to be asked again.
    """

    steps: int = Field(default=50, ge=0, le=10_000)
    rate: float = Field(default=0.1, gt=0)
    temperature: float = Field(default=0.7, ge=0, le=2)
    least_questions: int = Field(default=10, ge=1)
    min_agree: int = Field(default=2, ge=1)


def on_simplex(point: Floats) -> Floats:
    """The nearest point with coordinates >= 0 that sum to 1, [E] (Duchi et al. 2008).

    `(0.9, 0.5)` -> (0.7, 0.3).

    Args:
        point: [E], E >= 1, finite. Not modified.
    """
    ordered = np.sort(point)[::-1]
    above = np.cumsum(ordered) - 1
    count = np.arange(1, len(point) + 1)
    n = int(count[ordered - above / count > 0][-1])
    return np.asarray(np.maximum(point - above[n - 1] / n, 0.0))


def agreement_of(weights: Floats, moments: Floats) -> float:
    """wᵀMw, in [0, 1]: mean agreement of the weighted votes under the two views.

    Args:
        weights: [E], on the simplex.
        moments: [E, E], as `moments_of`.
    """
    return float(weights @ moments @ weights)


def most_stable(start: Floats, moments: Floats, *, steps: int = 50, rate: float = 0.1) -> Floats:
    """Weights on the simplex after projected gradient ascent on wᵀMw; the agreement never falls.

    Args:
        start: [E], on the simplex. Not modified.
        moments: [E, E], M_ef = share of questions on which e under one view and f under the other agree; only
            its symmetric part counts.
        steps: >= 0; 0 = the start.
        rate: > 0, of each step; at most the inverse of twice the largest absolute eigenvalue is used.
    """
    m = (moments + moments.T) / 2
    steepest = 2 * float(np.abs(np.linalg.eigvalsh(m)).max(initial=0.0))
    size = min(rate, 1 / steepest) if steepest else 0.0
    weights = start.copy()
    for _ in range(steps):
        weights = on_simplex(weights + size * 2 * m @ weights)
    return weights


class Views(NamedTuple):
    """A question's canonical answers under two views, by expert id; None = abstained."""

    first: Mapping[str, str | None]
    second: Mapping[str, str | None]


def moments_of(views: Sequence[Views], expert_ids: Sequence[str]) -> Floats:
    """M [E, E]: of the questions that e was asked under the first view and f under the second, the share on
    which they give the same answer; 0 where there are none. An abstention agrees with nobody.

    Args:
        views: of each question; all experts in them are among `expert_ids`.
        expert_ids: E, in the order of the rows.
    """
    place = {expert_id: i for i, expert_id in enumerate(expert_ids)}
    same = np.zeros((len(place), len(place)))
    both = np.zeros_like(same)
    for one in views:
        for e, said in one.first.items():
            for f, said_again in one.second.items():
                both[place[e], place[f]] += 1
                same[place[e], place[f]] += said is not None and said == said_again
    return np.divide(same, both, out=np.zeros_like(same), where=both > 0)


class Stability:
    """Asks every recruit again under a second view, unless the experts agree; both views vote."""

    name = NAME

    def __init__(
        self,
        context: AggregatorContext,
        options: StabilityOptions,
        *,
        weights: Mapping[str, float] | None = None,
        said: dict[str, JsonValue] | None = None,
    ) -> None:
        """
        Args:
            weights: of the batch's experts; None = none were learnt.
            said: what was learnt, for the answers.
        """
        self._desk = Desk(NAME, context)
        self._context = context
        self._options = options
        self._weights = weights
        self._said = said or {"questions": 0, "unlearnt": "no other question was stepped with it"}
        self._recent = Recent()

    def learn(self, batch: Sequence[InFlight]) -> Aggregator:
        """The vote with weights under which the batch's two views agree most."""
        heard = self._recent.joined([one for one in batch if rounds(one[0], CallRole.SAMPLE)])
        views = [self._views(state, responses) for state, responses in heard]
        experts = sorted({e for one in views for e in (*one.first, *one.second)})
        n = len(views)
        if n < self._options.least_questions:
            why = f"{n} questions had two views, {self._options.least_questions} are needed"
            return self._told(None, {"questions": n, "unlearnt": why})
        start = self.card_weights(experts)
        moments = moments_of(views, experts)
        learnt = most_stable(start, moments, steps=self._options.steps, rate=self._options.rate)
        weights = dict(zip(experts, learnt.tolist(), strict=True))
        listed: dict[str, JsonValue] = {expert_id: round(w, 6) for expert_id, w in weights.items()}
        before, after = (round(agreement_of(w, moments), 6) for w in (start, learnt))
        return self._told(weights, {"questions": n, "weights": listed, "agreement": [before, after]})

    def _told(self, weights: Mapping[str, float] | None, said: dict[str, JsonValue]) -> "Stability":
        return Stability(self._context, self._options, weights=weights, said=said)

    def card_weights(self, expert_ids: Sequence[str]) -> Floats:
        """Mean accuracies by the cards, .5 without one, scaled to sum to 1; [E]."""
        cards = [self._context.cards.get(expert_id) for expert_id in expert_ids]
        means = [shrunk_posterior(c.total, prior_mean=0.5).mean if c else 0.5 for c in cards]
        return np.array(means) / sum(means)

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        reading = self._desk.read(state, expert_responses)
        settled = self._desk.settled(state, expert_responses, reading, min_agree=self._options.min_agree)
        if settled is not None:
            return settled
        heard = rounds(state, CallRole.SAMPLE)
        if not heard:
            calls = self._calls(state, reading)
            if calls:
                return Ask(calls=tuple(calls))
        return self._finish(state, expert_responses, reading, heard[0] if heard else {})

    def _order(self, state: QueryState) -> Permutation | None:
        """The permutation of the second view; None = the question has no options."""
        if state.query.answer_type is not AnswerType.CHOICE:
            return None
        return drawn(len(state.query.options), 1, self._desk.rng(state))[0]

    def _calls(self, state: QueryState, reading: Reading) -> list[Call]:
        ids = dict.fromkeys(ballot.expert_id for ballot in reading.ballots if not ballot.response.failed)
        present = [expert for i in ids if (expert := self._desk.member(i)) is not None]
        order = self._order(state)
        query = state.query if order is None else permuted(state.query, order)
        return [
            self._desk.call(
                expert,
                state,
                prompts.expert(query, style=expert.prompt, system_prompt=expert.system_prompt),
                role=CallRole.SAMPLE,
                place=place,
                temperature=self._options.temperature if order is None else None,
            )
            for place, expert in enumerate(present)
        ]

    def _second(self, state: QueryState, replies: Sequence[Response]) -> list[Ballot]:
        order = self._order(state)
        if order is None:
            return read_ballots(self._context.grader, state, replies)
        return read_permuted(self._context.grader, state, [(reply, order) for reply in replies])

    def _views(self, state: QueryState, responses: Sequence[Response]) -> Views:
        first = self._desk.read(state, responses)
        second = self._second(state, [*rounds(state, CallRole.SAMPLE)[0].values()])
        name = {b.value: group.value for group in first.groups for b in group.ballots}
        return Views(
            {b.expert_id: name.get(b.value) for b in first.ballots},
            {b.expert_id: self._named(state, b.value, [*name.values()]) for b in second},
        )

    def _named(self, state: QueryState, value: str | None, known: Sequence[str]) -> str | None:
        """The known answer that says the same, or the value."""
        if value is None:
            return None
        same = self._context.grader.equivalent
        return next((other for other in known if same(state.query, other, value)), value)

    def _finish(
        self,
        state: QueryState,
        responses: Sequence[Response],
        reading: Reading,
        replies: Mapping[int, Response],
    ) -> Done:
        second = self._second(state, [*replies.values()])
        ids = sorted({ballot.expert_id for ballot in (*reading.ballots, *second)})
        weights = self._weights or dict(zip(ids, self.card_weights(ids).tolist(), strict=True))
        return own_letters(
            self._desk,
            state,
            responses,
            reading.ballots,
            second,
            weight=weights,
            notes=failures(replies.values()),
            extras={NAME: self._said},
        )


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `stability` with its options, `StabilityOptions`.

    Raises:
        ConfigError: an option that it does not have, or a value out of range.
    """
    return Stability(context, parse_options(f"aggregator '{NAME}'", StabilityOptions, options))
