"""The cards of a pool as matrices, so that a batch of queries is appraised at once.

Shapes: E experts in pool order, S skills known to any card, Q queries, T tags of all queries together.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestrator.domain.answers import SkillEvidence
from orchestrator.domain.cards import CompetenceCard, Tally, deck_hash, shrunk_posterior
from orchestrator.domain.posteriors import LEAST_PRIOR, MOST_PRIOR, Interval, Posterior
from orchestrator.domain.skills import SkillTag
from orchestrator.routing.parts.context import RouterContext

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

UNINFORMED = 0.5
"""Accuracy assumed of an expert that was never profiled."""

LAPLACE = 2.0
"""Pseudo-observations that draw a small card's global accuracy towards UNINFORMED."""

Evidence = Callable[[int], tuple[SkillEvidence, ...]]
"""Row of an expert to the reasons that count for it."""

_CACHED = 1 << 16
"""Posteriors, and lines of evidence, kept per deck."""


class TagTable(NamedTuple):
    """Known tags of a batch, laid end to end.

    Attributes:
        known: per query, the tags that some card knows.
        columns, weights: skill column and weight of each tag, [T].
        queries, starts: queries that have a known tag, and where their tags begin.
    """

    known: list[tuple[SkillTag, ...]]
    columns: Ints
    weights: Floats
    queries: Ints
    starts: Ints


def global_accuracy(tally: Tally) -> float:
    """Overall accuracy, drawn a little towards 0.5; exactly 0.5 for an expert without observations."""
    return shrunk_posterior(tally, prior_mean=UNINFORMED, prior_strength=LAPLACE).mean


def _summed_paper_score(card: CompetenceCard | None) -> float:
    return sum(tally.paper_score for tally in card.skills.values()) if card else 0.0


class Deck:
    """Cards of the eligible experts.

    Attributes:
        paper: n_right − n_wrong per expert and skill (arXiv:2503.05641), [E, S].
        mean: posterior accuracy per expert and skill, shrunk to the expert's global accuracy, [E, S].
        prior: global accuracy, [E].
        total_paper: paper scores summed over all skills, [E].
        profiled: whether there is a card, [E].
        version: hash of the cards, recorded by every decision.

    Args:
        prior_strength: > 0, pseudo-observations of the global accuracy behind every skill.
    """

    def __init__(self, context: RouterContext, *, prior_strength: float) -> None:
        self.expert_ids = context.expert_ids
        self.version = deck_hash(context.cards)
        cards = [context.cards.get(expert_id) for expert_id in self.expert_ids]
        self.profiled = [card is not None for card in cards]
        self._strength = prior_strength
        self._context = context
        self._skills = [card.skills if card else {} for card in cards]
        self._column = {name: i for i, name in enumerate(sorted({n for s in self._skills for n in s}))}
        self._totals = [card.total if card else Tally() for card in cards]
        self.prior = np.array([global_accuracy(total) for total in self._totals])
        self.total_paper = np.array([_summed_paper_score(card) for card in cards])
        self.paper = self._table(lambda tally: tally.paper_score)
        right, n = self._table(lambda tally: tally.n_right), self._table(lambda tally: tally.n)
        prior = np.clip(self.prior, LEAST_PRIOR, MOST_PRIOR)[:, None]
        self.mean: Floats = (prior * prior_strength + right) / (prior_strength + n)
        self._posterior = lru_cache(maxsize=_CACHED)(self._new_posterior)
        self._line = lru_cache(maxsize=_CACHED)(self._new_line)

    def _table(self, count: Callable[[Tally], float]) -> Floats:
        table = np.zeros((len(self._skills), len(self._column)))
        for row, skills in enumerate(self._skills):
            for name, tally in skills.items():
                table[row, self._column[name]] = count(tally)
        return table

    def tag_table(self, tags: Sequence[Sequence[SkillTag]]) -> TagTable:
        """Table of a batch's tags; those that no card knows are left out."""
        known = [tuple(tag for tag in of_query if tag.name in self._column) for of_query in tags]
        lengths = np.array([len(of_query) for of_query in known], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        tagged = np.flatnonzero(lengths)
        return TagTable(
            known,
            np.array([self._column[tag.name] for of_query in known for tag in of_query], dtype=np.int64),
            np.array([tag.weight for of_query in known for tag in of_query], dtype=np.float64),
            tagged,
            starts[tagged],
        )

    def accuracy(self, table: TagTable) -> Floats:
        """Expected accuracy on each query, [Q, E]: posterior means averaged by tag weight.

        A query without known tags gets the experts' global accuracies.
        """
        accuracy = np.tile(self.prior, (len(table.known), 1))
        if len(table.queries):
            total = np.add.reduceat(table.weights, table.starts)
            summed = np.add.reduceat(self.mean[:, table.columns] * table.weights, table.starts, axis=1)
            accuracy[table.queries] = (summed / total).T
        return accuracy

    def learnt_since(self, tags: Sequence[Sequence[SkillTag]]) -> Floats | None:
        """Change of the expected accuracy on each query by users' feedback, [Q, E]; None = nothing."""
        if self._measured is None:
            return None
        return self.accuracy(self.tag_table(tags)) - self._measured.accuracy(self._measured.tag_table(tags))

    @cached_property
    def _measured(self) -> "Deck | None":
        """The deck without feedback; None = users said nothing."""
        cards = self._context.cards
        if not any(card.feedback.n for card in cards.values()):
            return None
        measured = {expert_id: card.without_feedback for expert_id, card in cards.items()}
        return Deck(self._context._replace(cards=measured), prior_strength=self._strength)

    def suitability(self, table: TagTable) -> Floats:
        """The paper's s(e, q), [Q, E]: sum of paper scores over the query's skills; 1 where it has none."""
        suitability = np.ones((len(table.known), len(self.expert_ids)))
        if len(table.queries):
            summed = np.add.reduceat(self.paper[:, table.columns], table.starts, axis=1)
            suitability[table.queries] = summed.T
        return suitability

    def evidence(self, tags: Sequence[SkillTag], *, paper: bool = False) -> Evidence:
        """For each expert one line per known skill; `paper` shows the paper's score instead of the
        posterior mean.

        Weights are shown to two digits, so that lines repeat: building them anew for each query would
        take most of the routing time.
        """
        shown = [(tag.name, round(tag.weight, 2), paper) for tag in tags]
        line = self._line
        return lambda row: tuple([line(row, *of_tag) for of_tag in shown])

    def _new_line(self, row: int, skill: str, weight: float, paper: bool) -> SkillEvidence:
        mean, low, high, n = self._posterior(row, skill)
        score = float(self.paper[row, self._column[skill]]) if paper else mean
        return SkillEvidence(
            skill=skill, weight=weight, score=score, n=n, accuracy=mean, interval=Interval(low, high)
        )

    def _new_posterior(self, row: int, skill: str) -> Posterior:
        tally = self._skills[row].get(skill, Tally())
        return shrunk_posterior(tally, prior_mean=float(self.prior[row]), prior_strength=self._strength)
