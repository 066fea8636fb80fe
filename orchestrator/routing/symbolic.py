"""Recruit by the skills a query needs: the router of Symbolic-MoE, arXiv:2503.05641, section 3."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, JsonValue

from orchestrator.domain.answers import Decision
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
from orchestrator.routing.parts.deck import Deck, Floats, TagTable
from orchestrator.routing.parts.draws import draw_seed, gumbel_noise, preference, query_rng, trim_rare


class SymbolicOptions(Options):
    """
    Args:
        k: experts to recruit.
        selection: `top` takes the k heaviest, `sample` draws by weight.
        score: `posterior` = expected accuracy on the query's skills (tag-weighted posterior means);
            `paper` = (sum of n_right − n_wrong over the skills) · global strength.
        replacement: `sample` may draw an expert more than once, as the published code does.
        trim: experts with under 5 % of a batch's recruits give up their places (re-drawn).
        temperature: in [0.05, 100]; lower trusts strong experts more. 1/temperature is the exponent of
            the global strength (paper score) or of the sampling weight (posterior score).
        prior_strength: pseudo-observations that shrink a skill's accuracy to the expert's global one.
    """

    k: int = Field(default=3, ge=1, le=1000)
    selection: Literal["top", "sample"] = "top"
    score: Literal["posterior", "paper"] = "posterior"
    replacement: bool = False
    trim: bool = False
    temperature: float = Field(default=0.5, ge=0.05, le=100)
    prior_strength: float = Field(default=10.0, gt=0)


class _Weights(NamedTuple):
    """weight > 0 and score, [Q, E]; `suitable`, [Q, E]: 1 for experts that go before all others."""

    weight: Floats
    score: Floats
    suitable: Floats


class SymbolicRouter:
    """Differences from the published code: docs/decisions/0004 (no draw at random without skills,
    optional draws without replacement, the trim rule applied)."""

    name = "symbolic"
    reads_text = True

    def __init__(self, context: RouterContext, options: SymbolicOptions) -> None:
        self._options = options
        self._deck = Deck(context, prior_strength=options.prior_strength)
        self._strength = paper_strength(self._deck.total_paper, temperature=options.temperature)
        self._writer = DecisionWriter(self.name, context.expert_ids, self._deck.profiled, self._deck.version)

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        require_experts(self.name, self._deck.expert_ids)
        table = self._deck.tag_table([item.skills for item in batch])
        accuracy = self._deck.accuracy(table)
        weights = self._weigh(table, accuracy)
        seed = draw_seed(rng) if self._by_chance else 0
        rngs = [query_rng(seed, item.query) for item in batch] if self._by_chance else []
        picks = self._draw(weights, rngs)
        return self._decide(batch, table, accuracy, weights, picks, seed)

    def _weigh(self, table: TagTable, accuracy: Floats) -> _Weights:
        if self._options.score == "posterior":
            everyone = np.ones_like(accuracy)
            return _Weights(accuracy ** (1 / self._options.temperature), accuracy, everyone)
        suitability = self._deck.suitability(table)
        positive = suitability > 0
        none_positive = ~positive.any(axis=1, keepdims=True)
        shifted = suitability - suitability.min(axis=1, keepdims=True) + 1
        weight = np.where(positive, suitability, shifted) * self._strength
        return _Weights(weight, suitability, (positive | none_positive).astype(np.float64))

    def _draw(self, weights: _Weights, rngs: Sequence[random.Random]) -> list[list[int]]:
        options = self._options
        n_experts = weights.weight.shape[1]
        if options.selection == "sample" and options.replacement:
            share = (weights.weight * weights.suitable).tolist()
            rows = range(n_experts)
            picks = [rng.choices(rows, w, k=options.k) for rng, w in zip(rngs, share, strict=True)]
        else:
            key = np.log(weights.weight)
            if options.selection == "sample":
                key = key + gumbel_noise(rngs, n_experts)
            picks = preference(key, weights.suitable)[:, : options.k].tolist()
        if options.trim:
            return trim_rare(picks, rngs, distinct=not self._repeats)
        return picks

    @property
    def _by_chance(self) -> bool:
        return self._options.selection == "sample" or self._options.trim

    @property
    def _repeats(self) -> bool:
        return self._options.selection == "sample" and self._options.replacement

    def _decide(
        self,
        batch: Sequence[RoutingInput],
        table: TagTable,
        accuracy: Floats,
        weights: _Weights,
        picks: list[list[int]],
        seed: int,
    ) -> list[Decision]:
        ranked = preference(weights.weight, weights.suitable)
        notes = () if self._repeats else clamp(self._options.k, len(self._deck.expert_ids))[1]
        arrays = zip(ranked, weights.weight, weights.score, accuracy, strict=True)
        cases = (
            _Case(*of_query, *(row.tolist() for row in rows))
            for of_query, rows in zip(zip(batch, table.known, picks, strict=True), arrays, strict=True)
        )
        return self._writer.write_all(self._verdict(case, seed, notes) for case in cases)

    def _verdict(self, case: "_Case", seed: int, notes: tuple[str, ...]) -> Verdict:
        paper = self._options.score == "paper"
        picks, runner_up = case.best_first, case.runner_up
        return Verdict(
            picks=picks,
            runner_up=runner_up,
            shares=case.shares,
            scores=case.scores,
            accuracy=case.accuracy,
            evidence=self._deck.evidence(case.known, paper=paper),
            skills=case.item.skills,
            would_change=None if runner_up is None else self._would_change(case, picks[-1], runner_up),
            seed=seed,
            notes=notes if case.known else (*notes, NO_KNOWN_SKILL),
        )

    def _would_change(self, case: "_Case", last: int, runner_up: int) -> str:
        if self._options.selection == "sample":
            return BY_CHANCE
        if self._options.score == "posterior":
            return skill_gap(case.known, case.accuracy[last] - case.accuracy[runner_up])
        needed = case.shares[last] / float(self._strength[runner_up]) - case.scores[runner_up]
        where = f"'{case.known[0].name}'" if case.known else "any skill"
        return f"needs >= {max(1, math.ceil(needed))} more right answers, net of wrong ones, on {where}"


class _Case(NamedTuple):
    """One query's columns of the batch; lists are indexed by expert row, `ranked` holds rows."""

    item: RoutingInput
    known: tuple[SkillTag, ...]
    picks: list[int]
    ranked: list[int]
    shares: list[float]
    scores: list[float]
    accuracy: list[float]

    @property
    def best_first(self) -> list[int]:
        return sorted(self.picks, key=self.ranked.index)

    @property
    def runner_up(self) -> int | None:
        return next((row for row in self.ranked if row not in self.picks), None)


def skill_gap(known: Sequence[SkillTag], gap: float) -> str:
    """Accuracy that a runner-up behind by `gap`, tag-weighted, lacks: on the heaviest skill if it can do."""
    if not known:
        return accuracy_needed(gap, "overall accuracy")
    needed = gap * sum(tag.weight for tag in known) / max(tag.weight for tag in known)
    if needed > 0.5:
        return accuracy_needed(gap, "every matched skill")
    return accuracy_needed(needed, f"'{max(known, key=lambda tag: tag.weight).name}'")


def paper_strength(total_score: Floats, *, temperature: float) -> Floats:
    """Global strength g, [E], sums to 1: totals shifted to be positive, to the power 1/temperature.

    The published code shifts only when a total is negative, which gives an expert whose total is 0 no
    weight at all; here totals <= 0 are shifted too.
    """
    if not total_score.size:
        return total_score
    lowest = total_score.min()
    shifted = total_score - lowest + 1 if lowest <= 0 else total_score
    scaled = (shifted / shifted.max()) ** (1 / temperature)
    return np.asarray(scaled / scaled.sum())


def make(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """The `RouterFactory` of `symbolic`: goes by the cards, and needs no profile."""
    return SymbolicRouter(context, parse_options("router 'symbolic'", SymbolicOptions, options))
