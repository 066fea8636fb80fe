from pathlib import Path

import pytest

from orchestrator.domain.cards import CompetenceCard
from orchestrator.domain.experts import Pool
from orchestrator.domain.feedback import Drift
from orchestrator.errors import CardError, UnknownNameError
from orchestrator.services.experts import Experts
from tests.fakes.app import make_card, make_expert

POOL = Pool(experts=(make_expert("alpha"), make_expert("beta")))


class Cards:
    """A card store that holds cards by expert."""

    def __init__(self, *cards: CompetenceCard) -> None:
        self.by_expert = {card.expert_id: card for card in cards}

    def cards(self) -> dict[str, CompetenceCard]:
        return self.by_expert

    def save_card(self, card: CompetenceCard) -> None:
        self.by_expert[card.expert_id] = card


class NoFeedback:
    def on_cards(self, cards: dict[str, CompetenceCard]) -> dict[str, CompetenceCard]:
        return cards

    def drifts(self, cards: dict[str, CompetenceCard]) -> list[Drift]:
        return []


def card_of(expert_id: str) -> CompetenceCard:
    return make_card(expert_id).replaced(fingerprint=POOL.by_id[expert_id].fingerprint)


def experts(*cards: CompetenceCard, told: list[str] | None = None) -> Experts:
    heard = told if told is not None else []
    return Experts(
        pool=POOL, cards=Cards(*cards), feedback=NoFeedback(), on_changed=lambda: heard.append("changed")
    )


def test_cards_of_other_weights_or_other_pools_are_not_known() -> None:
    known = experts(card_of("alpha"), make_card("beta"), make_card("gamma")).cards()
    assert list(known) == ["alpha"]


@pytest.mark.parametrize(("expert_id", "error"), [("gamma", UnknownNameError), ("beta", CardError)])
def test_nobodys_card_and_one_that_is_not_there_are_told_apart(expert_id: str, error: type) -> None:
    with pytest.raises(error):
        experts(card_of("alpha")).card(expert_id)


def test_exported_cards_are_taken_over_and_compositions_told(tmp_path: Path) -> None:
    told: list[str] = []
    experts(card_of("alpha")).export_cards(tmp_path / "deck.json")
    new = experts(told=told)
    assert new.import_cards(tmp_path / "deck.json") == 1
    assert (list(new.cards()), told) == (["alpha"], ["changed"])


def test_a_deck_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "deck.json").write_text("{}")
    with pytest.raises(CardError):
        experts(told=told).import_cards(tmp_path / "deck.json")
    assert told == []
