import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.cards import CompetenceCard, Tally, deck_hash
from orchestrator.domain.experts import Expert
from orchestrator.errors import CardError
from orchestrator.services.decks import export_deck, import_deck
from tests.fakes.profiling import make_expert, make_pool

GOOD, WEAK = make_expert("good"), make_expert("weak")
POOL = make_pool(GOOD, WEAK)


def card_of(expert: Expert) -> CompetenceCard:
    return CompetenceCard(
        expert_id=expert.id,
        fingerprint=expert.fingerprint,
        profile_hash="p",
        outcomes_hash="o",
        total=Tally(n_right=2, n_wrong=1),
        skills={"algebra": Tally(n_right=2, n_wrong=1)},
        mean_tokens=3.3,
    )


CARDS = {"good": card_of(GOOD), "weak": card_of(WEAK)}


@pytest.fixture
def deck(tmp_path: Path) -> Path:
    path = tmp_path / "deck.json"
    export_deck(CARDS, path, pool=POOL)
    return path


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    payload = json.loads(path.read_text())
    change(payload)
    path.write_text(json.dumps(payload))


def test_a_deck_comes_back_as_it_went(deck: Path) -> None:
    assert import_deck(deck, pool=POOL) == CARDS


def test_export_names_the_version_that_decisions_record(tmp_path: Path) -> None:
    assert export_deck(CARDS, tmp_path / "deck.json", pool=POOL) == deck_hash(CARDS)


def test_an_export_that_fails_leaves_the_old_deck_and_no_litter(
    deck: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError("no space left on device")

    before = deck.read_text()
    monkeypatch.setattr("orchestrator.runtime.files.os.fsync", full)
    with pytest.raises(CardError, match="no space left"):
        export_deck({"good": CARDS["good"]}, deck, pool=POOL)
    assert deck.read_text() == before
    assert list(deck.parent.iterdir()) == [deck]


def test_an_empty_deck_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="Profile the pool first"):
        export_deck({}, tmp_path / "deck.json", pool=POOL)


def _more_right(payload: dict[str, Any]) -> None:
    payload["cards"]["good"]["total"]["n_right"] = 200


def _swap(payload: dict[str, Any]) -> None:
    cards = payload["cards"]
    cards["good"], cards["weak"] = cards["weak"], cards["good"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_more_right, "changed after their export"),
        (_swap, "changed after their export"),
        (lambda p: p.update(schema_version=2), "schema 2, this version reads 1"),
        (lambda p: p.update(format="other"), "not a deck"),
        (lambda p: p.update(extra=1), "extra"),
        (lambda p: p["cards"]["good"].update(mean_tokens=float("nan")), "NaN is not a count"),
        (lambda p: p["cards"]["good"]["total"].update(n_right=-1), "cards.good.total.n_right"),
        (lambda p: p["cards"]["good"].update(schema_version=7), "another schema"),
    ],
)
def test_a_deck_that_is_not_as_exported_is_refused(
    deck: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(deck, change)
    with pytest.raises(CardError, match=message):
        import_deck(deck, pool=POOL)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 200_000])
def test_a_file_that_is_no_deck_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "deck.json"
    path.write_bytes(content)
    with pytest.raises(CardError, match="deck of cards"):
        import_deck(path, pool=POOL)


def test_a_half_written_deck_is_refused(deck: Path) -> None:
    deck.write_text(deck.read_text()[:-40])
    with pytest.raises(CardError, match="Export it again, or profile"):
        import_deck(deck, pool=POOL)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="not a readable deck"):
        import_deck(tmp_path / "none.json", pool=POOL)


def test_cards_of_another_pool_are_refused(deck: Path) -> None:
    with pytest.raises(CardError, match="not in this pool: weak"):
        import_deck(deck, pool=make_pool(GOOD))


def test_cards_of_other_weights_are_refused(deck: Path) -> None:
    with pytest.raises(CardError, match="other weights or options: weak"):
        import_deck(deck, pool=make_pool(GOOD, make_expert("weak", weights_hash="new")))


def test_a_mismatch_that_is_allowed_counts_for_the_present_weights(deck: Path) -> None:
    changed = make_expert("weak", weights_hash="new")
    cards = import_deck(deck, pool=make_pool(changed), allow_mismatch=True)
    assert cards == {"weak": CARDS["weak"].model_copy(update={"fingerprint": changed.fingerprint})}


def test_a_pool_that_has_grown_takes_the_old_deck(deck: Path) -> None:
    assert import_deck(deck, pool=make_pool(GOOD, WEAK, make_expert("new"))) == CARDS


def test_a_deck_without_any_expert_of_the_pool_is_refused_even_so(deck: Path) -> None:
    with pytest.raises(CardError, match="not in this pool"):
        import_deck(deck, pool=make_pool(make_expert("other")), allow_mismatch=True)
