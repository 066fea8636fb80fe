"""Experts: the pool, its competence cards, and where users' feedback contradicts them."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from orchestrator.domain.cards import CompetenceCard, DatedCard, grade_origin
from orchestrator.domain.experts import Expert, Pool
from orchestrator.domain.feedback import Drift, Judged
from orchestrator.domain.grades import Origin, ScoreTable
from orchestrator.domain.keys import KEYLESS, Caller
from orchestrator.domain.merges import Lineage
from orchestrator.domain.queries import Query
from orchestrator.errors import CardError, UnknownNameError
from orchestrator.ports.cards import CardHistory, CardStore
from orchestrator.ports.profiling import GivenScores
from orchestrator.services.decks import export_deck, import_deck
from orchestrator.services.feedback import FeedbackDesk

MOST_CARDS = 12
"""Of a history: question sets that an expert was profiled on."""
NO_LINEAGES: Mapping[str, Lineage] = MappingProxyType({})


class Experts:
    """Knowledge of a pool's experts at the moment.

    Args:
        on_changed: called when cards were replaced.
        lineages: of those that merges made, by id.
        history: cards that were measured before; None = none are kept.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        cards: CardStore,
        feedback: FeedbackDesk,
        on_changed: Callable[[], None],
        lineages: Mapping[str, Lineage] = NO_LINEAGES,
        history: CardHistory | None = None,
    ) -> None:
        self.pool = pool
        self.lineages = lineages
        self._cards = cards
        self._feedback = feedback
        self._on_changed = on_changed
        self._history = history

    def of(self, caller: Caller) -> dict[str, Expert]:
        """Experts that there are for a caller, by id."""
        return {i: expert for i, expert in self.pool.by_id.items() if caller.may_ask(i)}

    def expert(self, expert_id: str, caller: Caller = KEYLESS) -> Expert:
        """One expert of the pool.

        Raises:
            UnknownNameError: nobody of the pool, or nobody for the caller.
        """
        by_id = self.of(caller)
        if expert_id not in by_id:
            raise UnknownNameError("expert", expert_id, by_id, param="expert")
        return by_id[expert_id]

    def measured(self) -> Mapping[str, CompetenceCard]:
        """Cards last measured or imported that fit the pool as it is now; without feedback."""
        stored = self._cards.cards()
        return {
            expert.id: stored[expert.id]
            for expert in self.pool.experts
            if expert.id in stored and stored[expert.id].fingerprint == expert.fingerprint
        }

    def cards(self) -> Mapping[str, CompetenceCard]:
        """Measured cards with users' feedback, by expert."""
        return self._feedback.on_cards(self.measured())

    def card(self, expert_id: str) -> CompetenceCard:
        """Card of one expert, with users' feedback.

        Raises:
            UnknownNameError: nobody of the pool.
            CardError: not profiled yet.
        """
        self.expert(expert_id)
        cards = self.cards()
        if expert_id not in cards:
            raise CardError(
                f"expert '{expert_id}' has no competence card.", remedy="Run `muster profile` first."
            )
        return cards[expert_id]

    def history(self, expert_id: str) -> list[DatedCard]:
        """Cards of an expert on each question set that it was profiled on, the last one first; without
        feedback. A card of another fingerprint is of other weights or settings."""
        return [] if self._history is None else self._history.history(expert_id, limit=MOST_CARDS)

    def stored_at(self) -> Mapping[str, float]:
        """Seconds since 1970 at which the cards of `measured` were stored, by expert; those from before dates
        were kept are left out."""
        profiles = {card.profile_hash for card in self.measured().values()}
        if self._history is None:
            return {}
        return {i: at for profile in profiles for i, at in self._history.dates(profile).items()}

    def judged(self, expert_id: str) -> list[Judged]:
        """Judged answers of an expert, as it is configured now, week by week, the oldest first."""
        return self._feedback.weeks(self.pool.by_id[expert_id].fingerprint)

    def drifts(self) -> list[Drift]:
        """Drifts: where recent feedback contradicts what was known of an expert."""
        return self._feedback.drifts(self.measured())

    def score_table(self) -> ScoreTable | None:
        """Scores of the newest profile's open questions, by the origin of the cards' grades; None = nothing
        was scored."""
        origin = grade_origin(self.measured().values())
        newest = self._cards.latest_profile_hash()
        rows = None if newest is None else self._cards.profile_set(newest)
        hashes = [query.content_hash for query, _ in rows or () if query.answer_type.is_graded]
        if origin is None or not hashes:
            return None
        scores = [self._scores(origin, expert, hashes) for expert in self.pool.answerers]
        table = np.array(scores, dtype=np.float64).reshape(len(scores), len(hashes))
        return ScoreTable(origin, tuple(expert.id for expert in self.pool.answerers), table)

    def scores_of(self, queries: Sequence[Query]) -> GivenScores:
        """Scores of the pool's answers to open questions, by the origin of the cards' grades; none where the
        cards have no grades."""
        origin = grade_origin(self.measured().values())
        opened = [query for query in queries if query.answer_type.is_graded]
        if origin is None or not opened:
            return GivenScores({})
        hashes = [query.content_hash for query in opened]
        table = {expert.id: self._scores(origin, expert, hashes) for expert in self.pool.answerers}
        scores = {
            (query.id, expert_id): score
            for expert_id, of_expert in table.items()
            for query, score in zip(opened, of_expert, strict=True)
            if not math.isnan(score)
        }
        return GivenScores(scores, origin.judge)

    def _scores(self, origin: Origin, expert: Expert, hashes: Sequence[str]) -> list[float]:
        outcomes = self._cards.known_outcomes(expert.fingerprint, hashes)
        known = self._cards.known_scores(origin.source, origin.judge, expert.fingerprint, hashes)
        given = {h: known[h].score if h in known else None for h in hashes}
        scores = [outcomes[h].score(given[h]) if h in outcomes else None for h in hashes]
        return [math.nan if score is None else score for score in scores]

    def export_cards(self, path: Path) -> None:
        """Write the measured cards to a file, all or nothing.

        Raises:
            CardError: no cards, or the file cannot be written.
        """
        export_deck(self.measured(), path, pool=self.pool)

    def import_cards(self, path: Path) -> int:
        """Take the cards of a file over, until the pool is profiled; returns their number.

        Raises:
            CardError: not a deck, changed since its export, or of other experts.
        """
        deck = import_deck(path, pool=self.pool)
        for card in deck.values():
            self._cards.save_card(card)
        self._on_changed()
        return len(deck)
