"""Routers that look at nothing but the experts' overall accuracy, or at nothing: honest baselines."""

import random
from collections.abc import Mapping, Sequence

from pydantic import Field, JsonValue

from orchestrator.domain.answers import Decision
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Router, RoutingInput
from orchestrator.routing.parts.context import RouterContext, require_experts
from orchestrator.routing.parts.decisions import (
    BY_CHANCE,
    NO_KNOWN_SKILL,
    DecisionWriter,
    Verdict,
    accuracy_needed,
    clamp,
)
from orchestrator.routing.parts.deck import Deck
from orchestrator.routing.parts.draws import draw_seed, query_rng

PRIOR_STRENGTH = 10.0


class NoOptions(Options):
    pass


class CountOptions(Options):
    k: int = Field(default=3, ge=1, le=1000)


class BaselineRouter:
    """Recruits the same way whatever the query asks; the reasons still say how good each recruit is on it,
    if anything was measured and there is a choice.

    Args:
        k: experts per query; None = all.
        at_random: draw uniformly instead of taking the strongest.
        times: how often each recruit is asked.
    """

    def __init__(
        self,
        name: str,
        context: RouterContext,
        *,
        k: int | None,
        at_random: bool = False,
        times: int = 1,
    ) -> None:
        self.name = name
        self.reads_text = bool(context.cards) and len(context.expert_ids) > 1
        self._deck = Deck(context, prior_strength=PRIOR_STRENGTH)
        self._k, self._notes = clamp(k or len(context.expert_ids), len(context.expert_ids))
        self._at_random = at_random
        self._times = times
        self._order = sorted(range(len(context.expert_ids)), key=lambda row: -self._deck.prior[row])
        self._prior: list[float] = self._deck.prior.tolist()
        self._writer = DecisionWriter(name, context.expert_ids, self._deck.profiled, self._deck.version)

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        require_experts(self.name, self._deck.expert_ids)
        seed = draw_seed(rng) if self._at_random else 0
        table = self._deck.tag_table([item.skills for item in batch])
        accuracy = self._deck.accuracy(table).tolist()
        return self._writer.write_all(
            self._verdict(item, known, means, seed)
            for item, known, means in zip(batch, table.known, accuracy, strict=True)
        )

    def _verdict(
        self, item: RoutingInput, known: tuple[SkillTag, ...], accuracy: list[float], seed: int
    ) -> Verdict:
        picks = self._picks(item.query, seed)
        left_out = [row for row in self._order if row not in picks]
        runner_up = left_out[0] if left_out else None
        return Verdict(
            picks=picks * self._times,
            runner_up=runner_up,
            shares=self._prior,
            scores=self._prior,
            accuracy=accuracy,
            evidence=self._deck.evidence(known),
            skills=item.skills,
            would_change=None if runner_up is None else self._would_change(picks[-1], runner_up),
            seed=seed,
            notes=self._notes if known else (*self._notes, NO_KNOWN_SKILL),
        )

    def _picks(self, query: Query, seed: int) -> list[int]:
        if not self._at_random:
            return self._order[: self._k]
        drawn = set(query_rng(seed, query).sample(range(len(self._order)), self._k))
        return [row for row in self._order if row in drawn]

    def _would_change(self, last: int, runner_up: int) -> str:
        if self._at_random:
            return BY_CHANCE
        return accuracy_needed(self._prior[last] - self._prior[runner_up], "overall accuracy")


def make_best_single(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """The expert with the highest overall accuracy, for every query."""
    parse_options("router 'best_single'", NoOptions, options)
    return BaselineRouter("best_single", context, k=1)


def make_self_consistency(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """The best single expert, asked k times: what its own further samples are worth (arXiv:2203.11171)."""
    k = parse_options("router 'self_consistency'", CountOptions, options).k
    return BaselineRouter("self_consistency", context, k=1, times=k)


def make_static_top_3(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """The three experts with the highest overall accuracy, for every query."""
    parse_options("router 'static_top_3'", NoOptions, options)
    return BaselineRouter("static_top_3", context, k=3)


def make_top_k(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """The k experts with the highest overall accuracy, for every query."""
    return BaselineRouter("top_k", context, k=parse_options("router 'top_k'", CountOptions, options).k)


def make_random(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """k different experts, each equally likely."""
    k = parse_options("router 'random'", CountOptions, options).k
    return BaselineRouter("random", context, k=k, at_random=True)


def make_all(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """The whole pool, strongest first."""
    parse_options("router 'all'", NoOptions, options)
    return BaselineRouter("all", context, k=None)
