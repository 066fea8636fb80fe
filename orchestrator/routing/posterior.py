"""Recruit in waves: who is best on questions like this one goes first, the next best are held in reserve.

Ours: local accuracy and its figures docs/decisions/0012, one order for equals docs/decisions/0016.
"""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field, JsonValue

from orchestrator.domain.answers import Decision, SkillEvidence
from orchestrator.domain.cards import LEAST_ACCURACY, MOST_ACCURACY
from orchestrator.domain.posteriors import Interval, beta_bounds
from orchestrator.domain.skills import SkillTag
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Router, RoutingInput
from orchestrator.routing.parts.context import RouterContext, require_experts
from orchestrator.routing.parts.decisions import DecisionWriter, Verdict, accuracy_needed, clamp
from orchestrator.routing.parts.deck import UNINFORMED, Deck, Floats, Ints
from orchestrator.routing.parts.draws import preference
from orchestrator.routing.parts.lineup import in_shared_order, line_up, repeated_errors
from orchestrator.routing.parts.local import Appraisal, fit_local
from orchestrator.routing.parts.neighbours import ProfileView
from orchestrator.routing.parts.prices import PriceList, prices_now

NEAR = "profile questions like this one"
_SKILL_PRIOR = 10.0

_Lines = dict[int, SkillEvidence]
"""The local line of evidence by expert row."""


class PosteriorOptions(Options):
    """
    Args:
        k: experts that may be asked, those in reserve included.
        first: experts of the first wave; the others of the k are reserves.
        within: experts that are worth at most so much accuracy less than the best one left count as equally
            good: they are asked in one order for all queries, the most accurate overall first. A batch then
            comes back to fewer engines.
        alike: accuracy that an expert is worth less if all its errors are errors of one that is asked before.
        usd_price: accuracy that a USD must bring; a call costs what it cost in the profile.
        second_price: accuracy that a second must bring: of the call, as in the profile, and of loading the
            engine, if no device has it now. Decisions then depend on what is loaded.
    """

    k: int = Field(default=6, ge=1, le=1000)
    first: int = Field(default=1, ge=1, le=1000)
    within: float = Field(default=0.0, ge=0, le=1)
    alike: float = Field(default=0.0, ge=0, le=1)
    usd_price: float = Field(default=0.0, ge=0)
    second_price: float = Field(default=0.0, ge=0)


class PosteriorRouter:
    """Ranks experts by their local accuracy (`local.LocalModel`) less prices, ties in pool order.

    Reasons: the accuracy on profile questions like the query, and the card's score for each of its skills.
    Reserves carry the latter only until they are asked.
    """

    name = "posterior"
    reads_text = True

    def __init__(self, context: RouterContext, options: PosteriorOptions) -> None:
        self._view = ProfileView(self.name, context)
        self._deck = Deck(context, prior_strength=_SKILL_PRIOR)
        assert context.profile is not None, "checked by ProfileView"
        self._model = fit_local(context.profile) if context.expert_ids else None
        self._k, self._notes = clamp(options.k, len(context.expert_ids))
        self._first = min(options.first, self._k)
        self._within = options.within
        self._prices = PriceList(options.usd_price, options.second_price)
        self._context = context
        repeated = repeated_errors(context.profile, context.expert_ids) if options.alike else None
        self._alike = None if repeated is None else options.alike * repeated
        self._rank = np.argsort(preference(self._deck.prior[None, :])[0])
        self._writer = DecisionWriter(
            self.name, context.expert_ids, self._view.profiled, self._view.version, n_first=self._first
        )

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        require_experts(self.name, self._view.expert_ids)
        del rng  # deterministic
        if not batch:
            return []
        local = self._appraise(batch)
        prices = prices_now(self._context, self._prices)
        worth = local.accuracy - prices.of
        best = line_up(worth, min(self._k + 1, worth.shape[1]), self._alike)
        asked = in_shared_order(best[:, : self._k], worth, self._rank, self._within)
        ranked = np.hstack([asked, best[:, self._k :]])
        shown = [*range(self._first), *range(self._k, ranked.shape[1])]
        lines = _local_lines(local, ranked[:, shown])
        known = self._deck.tag_table([item.skills for item in batch]).known
        columns = zip(
            batch,
            ranked.tolist(),
            np.take_along_axis(local.accuracy, ranked, axis=1).tolist(),
            np.take_along_axis(worth, ranked, axis=1).tolist(),
            lines,
            known,
            strict=True,
        )
        return self._writer.write_all(self._verdict(*column, notes=prices.notes) for column in columns)

    def _appraise(self, batch: Sequence[RoutingInput]) -> Appraisal:
        """Of the eligible experts, in pool order; those that the profile does not hold are unmeasured."""
        assert self._model is not None, "somebody is eligible"
        accuracy, n = self._model.appraise(self._view.vectors(batch))
        column = {expert_id: i for i, expert_id in enumerate(self._model.expert_ids)}
        places = [column.get(expert_id, -1) for expert_id in self._view.expert_ids]
        missing = np.array(places) < 0
        known = self._with_feedback(batch, accuracy[:, places])
        return Appraisal(np.where(missing, UNINFORMED, known), np.where(missing, 0.0, n[:, places]))

    def _with_feedback(self, batch: Sequence[RoutingInput], accuracy: Floats) -> Floats:
        """The profile's accuracies, moved by as much as feedback moves those of the cards."""
        moved = self._deck.learnt_since([item.skills for item in batch])
        return accuracy if moved is None else np.clip(accuracy + moved, LEAST_ACCURACY, MOST_ACCURACY)

    def _verdict(
        self,
        item: RoutingInput,
        ranked: list[int],
        accuracy: list[float],
        worth: list[float],
        lines: _Lines,
        known: tuple[SkillTag, ...],
        *,
        notes: tuple[str, ...],
    ) -> Verdict:
        picks, left_out = ranked[: self._k], ranked[self._k :]
        of_skills = self._deck.evidence(known)
        gap = min(worth[: self._k]) - worth[self._k] if left_out else 0.0
        of_row = dict(zip(ranked, accuracy, strict=True))
        return Verdict(
            picks=picks,
            runner_up=left_out[0] if left_out else None,
            shares=of_row,
            scores=dict(zip(ranked, worth, strict=True)),
            accuracy=of_row,
            evidence=lambda row: (lines[row], *of_skills(row)) if row in lines else of_skills(row),
            skills=item.skills,
            would_change=accuracy_needed(gap, NEAR) if left_out else None,
            notes=(*self._notes, *notes),
        )


def _local_lines(local: Appraisal, shown: Ints) -> list[_Lines]:
    """Per query, the local evidence of the experts in `shown` ([Q, S] rows), all intervals in one go."""
    queries = np.arange(len(shown))[:, None]
    mean, n = local.accuracy[queries, shown], local.n[queries, shown]
    low, high = _intervals(mean, n)
    table = zip(shown.tolist(), mean.tolist(), n.tolist(), low.tolist(), high.tolist(), strict=True)
    return [{row: _line(*values) for row, *values in zip(*of_query, strict=True)} for of_query in table]


def _line(mean: float, n: float, low: float, high: float) -> SkillEvidence:
    return SkillEvidence(skill=NEAR, weight=1.0, score=mean, n=n, accuracy=mean, interval=Interval(low, high))


def _intervals(mean: Floats, n: Floats) -> tuple[Floats, Floats]:
    """90 % interval of a Beta with this mean and n + 2 observations; it always holds the mean."""
    a, b = mean * (n + 2), (1 - mean) * (n + 2)
    low, high = beta_bounds(a, b)
    return np.minimum(low, mean), np.maximum(high, mean)


def make(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """The `RouterFactory` of `posterior`: needs a profile."""
    return PosteriorRouter(context, parse_options("router 'posterior'", PosteriorOptions, options))
