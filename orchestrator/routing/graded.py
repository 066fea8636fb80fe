"""Recruit for open questions: whoever's answers were graded best goes first, the next best are in reserve.

What a question is about does not matter: on recorded answers of real models, neighbours and clusters of
questions chose hardly better than the overall mean, or worse (docs/open.md). Ours: docs/decisions/0044.
"""

import random
from collections.abc import Mapping, Sequence

from pydantic import Field, JsonValue

from orchestrator.domain.answers import Decision, SkillEvidence
from orchestrator.domain.cards import CompetenceCard, Tally, deck_hash, shrunk_posterior
from orchestrator.domain.grades import GradeTally
from orchestrator.domain.posteriors import Interval, Posterior
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Router, RoutingInput
from orchestrator.routing.parts.context import RouterContext, require_experts
from orchestrator.routing.parts.decisions import DecisionWriter, Verdict, accuracy_needed, clamp
from orchestrator.routing.parts.deck import LAPLACE, UNINFORMED

GRADES = "grades of open questions"
RIGHT_ANSWERS = "right answers to exact questions"
NOT_GRADED = "nobody was graded on open questions: who is right most often on exact ones goes first"

_LEAST_SHARE = 1e-6


class GradedOptions(Options):
    """
    Args:
        k: experts that may be asked, those in reserve included.
        first: experts of the first wave; the others of the k are reserves.
    """

    k: int = Field(default=3, ge=1, le=1000)
    first: int = Field(default=1, ge=1, le=1000)


class GradedRouter:
    """Ranks experts by their mean grade, drawn a little to the pool's; ties in pool order.

    `accuracy` of a recruit is its expected grade; who was not graded comes last. Where nobody was, experts
    are ranked by their overall accuracy, and a note says so.
    """

    name = "graded"
    reads_text = False

    def __init__(self, context: RouterContext, options: GradedOptions) -> None:
        cards = [context.cards.get(expert_id) for expert_id in context.expert_ids]
        tallies = [
            GradeTally() if card is None or card.graded is None else card.graded.total for card in cards
        ]
        is_graded = any(tally.n for tally in tallies)
        self._expert_ids = context.expert_ids
        self._k, notes = clamp(options.k, len(cards))
        self._notes = notes if is_graded else (*notes, NOT_GRADED)
        prior = pool_mean(tallies)
        self._what = GRADES if is_graded else RIGHT_ANSWERS
        self._lines = [
            _line(self._what, tally.posterior(prior) if is_graded else _overall(card))
            for tally, card in zip(tallies, cards, strict=True)
        ]
        self._expected = [line.accuracy for line in self._lines]
        known = [bool(line.n) for line in self._lines]
        self._order = sorted(range(len(cards)), key=lambda row: (not known[row], -self._expected[row], row))
        self._writer = DecisionWriter(
            self.name,
            context.expert_ids,
            known,
            deck_hash(context.cards),
            n_first=min(options.first, self._k),
        )

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        require_experts(self.name, self._expert_ids)
        del rng  # deterministic
        return self._writer.write_all(self._verdict(item) for item in batch)

    def _verdict(self, item: RoutingInput) -> Verdict:
        picks, left_out = self._order[: self._k], self._order[self._k :]
        gap = self._expected[picks[-1]] - self._expected[left_out[0]] if left_out else 0.0
        return Verdict(
            picks=picks,
            runner_up=left_out[0] if left_out else None,
            shares=[max(expected, _LEAST_SHARE) for expected in self._expected],
            scores=self._expected,
            accuracy=self._expected,
            evidence=lambda row: (self._lines[row],),
            skills=item.skills,
            would_change=accuracy_needed(gap, self._what) if left_out else None,
            notes=self._notes,
        )


def pool_mean(tallies: Sequence[GradeTally]) -> float:
    """Mean of all scores of a pool, in [0, 1]; 0.5 of none."""
    n = sum(tally.n for tally in tallies)
    return sum(tally.total for tally in tallies) / n if n else UNINFORMED


def _line(what: str, posterior: Posterior) -> SkillEvidence:
    mean, low, high, n = posterior
    interval = Interval(low, high)
    return SkillEvidence(skill=what, weight=1.0, score=mean, n=n, accuracy=mean, interval=interval)


def _overall(card: CompetenceCard | None) -> Posterior:
    total = card.total if card else Tally()
    return shrunk_posterior(total, prior_mean=UNINFORMED, prior_strength=LAPLACE)


def make(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """The `RouterFactory` of `graded`: needs no profile; without grades it goes by right answers."""
    return GradedRouter(context, parse_options("router 'graded'", GradedOptions, options))
