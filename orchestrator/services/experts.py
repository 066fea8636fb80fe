"""Experts: the pool, its competence cards, and where users' feedback contradicts them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from orchestrator.domain.cards import CompetenceCard
from orchestrator.domain.experts import Expert, Pool
from orchestrator.domain.feedback import Drift
from orchestrator.domain.keys import KEYLESS, Caller
from orchestrator.domain.merges import Lineage
from orchestrator.errors import CardError, UnknownNameError
from orchestrator.ports.cards import CardStore
from orchestrator.services.decks import export_deck, import_deck
from orchestrator.services.feedback import FeedbackDesk

NO_LINEAGES: Mapping[str, Lineage] = MappingProxyType({})


class Experts:
    """Knowledge of a pool's experts at the moment.

    Args:
        on_changed: called when cards were replaced.
        lineages: of those that merges made, by id.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        cards: CardStore,
        feedback: FeedbackDesk,
        on_changed: Callable[[], None],
        lineages: Mapping[str, Lineage] = NO_LINEAGES,
    ) -> None:
        self.pool = pool
        self.lineages = lineages
        self._cards = cards
        self._feedback = feedback
        self._on_changed = on_changed

    def of(self, caller: Caller) -> dict[str, Expert]:
        """Experts that there are for a caller, by id."""
        return {i: expert for i, expert in self.pool.by_id.items() if caller.may_ask(i)}

    def expert(self, expert_id: str, caller: Caller = KEYLESS) -> Expert:
        """
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
        """
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

    def drifts(self) -> list[Drift]:
        """Drifts: where recent feedback contradicts what was known of an expert."""
        return self._feedback.drifts(self.measured())

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
