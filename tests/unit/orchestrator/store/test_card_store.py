import time
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.domain.cards import RIGHT, WRONG, CompetenceCard, DatedCard, Tally
from orchestrator.domain.skills import SkillTag
from orchestrator.ports.cards import OutcomeRow
from orchestrator.store import SqlCardStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.work import make_queries


@pytest.fixture
def cards(tmp_path: Path):
    database = open_database(fresh_sqlite(tmp_path))
    yield SqlCardStore(database)
    database.close()


def make_card(expert_id: str, *, profile_hash: str = "p1", n_right: int = 3) -> CompetenceCard:
    return CompetenceCard(
        expert_id=expert_id,
        fingerprint=f"fp-{expert_id}",
        profile_hash=profile_hash,
        outcomes_hash="o",
        total=Tally(n_right=n_right, n_wrong=1),
        skills={"algebra": Tally(n_right=n_right)},
    )


def make_outcome(query_hash: str, outcome: int = RIGHT, *, fingerprint: str = "fp") -> OutcomeRow:
    return OutcomeRow(fingerprint, query_hash, outcome, "A", "text\x00", 7, 12.5)


def test_outcomes_come_back_by_question_and_only_for_their_expert(cards: SqlCardStore) -> None:
    rows = [make_outcome("q1"), make_outcome("q2", WRONG), make_outcome("q1", fingerprint="other")]
    cards.save_outcomes(rows)
    assert cards.known_outcomes("fp", ["q1", "q2", "q3"]) == {"q1": rows[0], "q2": rows[1]}
    assert cards.known_outcomes("fp", []) == {}


def test_a_later_outcome_replaces_the_earlier_one(cards: SqlCardStore) -> None:
    cards.save_outcomes([make_outcome("q1", RIGHT)])
    cards.save_outcomes([make_outcome("q1", WRONG)])
    assert cards.known_outcomes("fp", ["q1"])["q1"].outcome == WRONG


def test_many_outcomes_are_found_in_one_call(cards: SqlCardStore) -> None:
    cards.save_outcomes([make_outcome(f"q{i}") for i in range(1203)])
    assert len(cards.known_outcomes("fp", [f"q{i}" for i in range(2000)])) == 1203


def test_the_newest_card_of_each_expert_counts(cards: SqlCardStore) -> None:
    for card in [make_card("a", n_right=1), make_card("b"), make_card("a", n_right=9)]:
        cards.save_card(card)
    assert cards.cards() == {"a": make_card("a", n_right=9), "b": make_card("b")}


def test_cards_that_another_process_saves_are_seen_and_a_readers_are_his_own(tmp_path: Path) -> None:
    database = open_database(fresh_sqlite(tmp_path))
    here, there = SqlCardStore(database), SqlCardStore(database)
    assert here.cards() == {}
    for profile_hash, n_right in [("p1", 1), ("p1", 2), ("p2", 3), ("p1", 4)]:
        card = make_card("a", profile_hash=profile_hash, n_right=n_right)
        there.save_card(card)
        assert here.cards() == {"a": card}
        here.cards().clear()
        assert here.cards() == {"a": card}
    database.close()


def test_cards_are_those_of_one_profile_set(cards: SqlCardStore) -> None:
    cards.save_card(make_card("a", profile_hash="old"))
    cards.save_card(make_card("b", profile_hash="new"))
    assert set(cards.cards()) == {"b"}
    assert set(cards.cards("old")) == {"a"}
    assert cards.cards("none") == {}


def test_without_any_card_there_is_none(cards: SqlCardStore) -> None:
    assert cards.cards() == {}
    assert cards.latest_profile_hash() is None
    assert cards.profile_set("p1") is None


def test_a_profile_set_comes_back_and_the_last_saved_is_the_newest(cards: SqlCardStore) -> None:
    queries = make_queries(2)
    skills = [(SkillTag(name="algebra", weight=0.5),), ()]
    for profile_hash in ("p1", "p2", "p1"):
        cards.save_profile_set(profile_hash, queries, skills)
    assert cards.profile_set("p1") == list(zip(queries, skills, strict=True))
    assert cards.latest_profile_hash() == "p1"


def test_the_history_of_an_expert_is_its_newest_card_on_each_profile_set(cards: SqlCardStore) -> None:
    first, second = make_card("a", profile_hash="p1"), make_card("a", profile_hash="p2")
    again = make_card("a", profile_hash="p1", n_right=9)
    for card in [first, make_card("b"), second, again]:
        cards.save_card(card)
    assert [card for card, _ in cards.history("a", limit=5)] == [again, second]
    assert [card for card, _ in cards.history("a", limit=1)] == [again]
    assert cards.history("nobody", limit=5) == []


def test_a_card_has_the_date_on_which_it_was_stored_and_the_newest_one_counts(cards: SqlCardStore) -> None:
    began = time.time()
    for card in (make_card("a", profile_hash="p1"), make_card("a", profile_hash="p1", n_right=9)):
        cards.save_card(card)
    [(_, at_s)] = cards.history("a", limit=5)
    assert at_s is not None
    assert began - 2 <= at_s <= time.time() + 2
    assert cards.dates("p1") == {"a": at_s}
    assert cards.dates("p2") == {}


def test_cards_from_before_dates_were_kept_have_none(tmp_path: Path) -> None:
    database = open_database(fresh_sqlite(tmp_path))
    old = make_card("a", profile_hash="p1")
    SqlCardStore(database).save_card(old)
    database.transact(lambda conn: conn.execute(text("UPDATE card SET created_at = NULL")))
    assert SqlCardStore(database).history("a", limit=5) == [DatedCard(old, None)]
    assert SqlCardStore(database).dates("p1") == {}
    database.close()
