"""The cheapest expert first; the next where the vote so far is not sure enough.

In the spirit of cascades of models (arXiv:2305.05176), with the vote `learned` or `weighted` as the scorer.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal

from pydantic import Field, JsonValue

from aggregators.outputs import learned, weighted
from aggregators.outputs.asking import price_per_token
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.compositions.waves import promoted
from orchestrator.domain.answers import Decision
from orchestrator.domain.assignments import Ask, Done, QueryState, Response
from orchestrator.domain.experts import Expert
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator, Count, SequentialAggregator

NAME = "cascade"

GUESSED_TOKENS = 256
"""Of an answer, where nobody was measured."""


class CascadeOptions(Options):
    """
    Args:
        confidence: probability of being right, by the vote so far, from which on nobody else is asked.
        price: by which experts are ordered: USD or seconds of a query in the profile, or billions of
            parameters. At equal prices the router's order.
        most: experts asked at most; None = all that the router recruits or holds in reserve.
        vote: the vote that decides and says how sure it is.
    """

    confidence: float = Field(default=0.75, ge=0, le=1)
    price: Literal["usd", "seconds", "params"] = "usd"
    most: int | None = Field(default=None, ge=1)
    vote: Literal["learned", "weighted"] = "learned"


class Cascade:
    """Asks one expert at a time, in the order of their prices, until the vote is sure."""

    name = NAME

    def __init__(self, context: AggregatorContext, options: CascadeOptions) -> None:
        self._context = context
        self._options = options
        make_vote = learned.make if options.vote == "learned" else weighted.make
        vote = make_vote(context, {})
        assert isinstance(vote, SequentialAggregator), "both are"
        self._vote = vote

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        """The vote over the responses that are there."""
        return self._done(state, self._vote.count(state, expert_responses))

    def opened(self, state: QueryState, decision: Decision) -> Decision:
        """The decision with the cheapest expert recruited, and the others in reserve, cheapest first."""
        del state
        everybody = tuple({r.expert_id: r for r in (*decision.recruits, *decision.reserves)}.values())
        ordered = sorted(everybody, key=lambda recruit: self.price(recruit.expert_id))[: self._options.most]
        empty = decision.model_copy(update={"recruits": (), "reserves": tuple(ordered)})
        return promoted(empty, 1, f"cheapest by {self._options.price}")

    def next(self, state: QueryState, responses: Sequence[Response]) -> Decision | Ask | Done:
        """The cheapest reserve recruited; or the answer, where the vote is sure or nobody is left."""
        count = self._vote.count(state, responses)
        reserves = state.decision.reserves if state.decision else ()
        why = _why_ask_on(count, self._options.confidence)
        if state.decision is None or not reserves or why is None:
            return self._done(state, count)
        return promoted(state.decision, 1, why)

    def price(self, expert_id: str) -> float:
        """Price of a query: USD, seconds, or billions of parameters, by the option; 0 where it is not known.

        USD of an expert without a card are those of as many tokens, in and out, as the others' answers take.
        """
        card, expert = self._context.cards.get(expert_id), self._context.pool.by_id.get(expert_id)
        if self._options.price == "usd":
            return card.cost_per_query if card else self._guessed_usd(expert)
        if self._options.price == "seconds":
            return card.mean_latency_ms / 1000 if card else 0.0
        return (expert.params_b or 0.0) if expert else 0.0

    def _guessed_usd(self, expert: Expert | None) -> float:
        taken = [card.mean_tokens for card in self._context.cards.values() if card.mean_tokens]
        n_tokens = fmean(taken) if taken else GUESSED_TOKENS
        return 0.0 if expert is None else n_tokens * price_per_token(expert)

    def _done(self, state: QueryState, count: Count) -> Done:
        answer = count.done().answer
        asked = len(state.decision.recruits) if state.decision else 0
        extras: dict[str, JsonValue] = {**answer.extras, NAME: {"asked": asked, "price": self._options.price}}
        return Done(answer=answer.model_copy(update={"aggregator": self.name, "extras": extras}))


def _why_ask_on(count: Count, enough: float) -> str | None:
    outlook = count.outlook
    if not outlook.n_votes or outlook.confidence is None:
        return "no readable answer yet"
    return None if outlook.confidence >= enough else f"confidence was {outlook.confidence:.2f}"


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `cascade` with its options, `CascadeOptions`.

    Raises:
        ConfigError: an option that it does not have, or a value out of range.
    """
    return Cascade(context, parse_options(f"aggregator '{NAME}'", CascadeOptions, options))
