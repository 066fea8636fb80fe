"""What every store of scores promises, whatever the database."""

import pytest

from orchestrator.domain.grades import GradeSource
from orchestrator.errors import StoreError
from orchestrator.ports.cards import ScoreRow
from orchestrator.store import Database, SqlCardStore


@pytest.fixture
def cards(database: Database) -> SqlCardStore:
    return SqlCardStore(database)


def row(
    query_hash: str,
    score: float = 0.5,
    *,
    source: GradeSource = GradeSource.IMPORTED,
    judge: str = "ada",
    fingerprint: str = "fp",
    basis: str = "",
) -> ScoreRow:
    return ScoreRow(source, judge, fingerprint, query_hash, score, basis)


def test_scores_come_back_by_question_and_only_for_their_source_judge_and_expert(cards: SqlCardStore) -> None:
    mine = [row("q1", 1 / 3, basis="b"), row("q2", 0.0)]
    others = [
        row("q1", 0.9, source=GradeSource.RUBRIC),
        row("q1", 0.8, judge=""),
        row("q1", 0.7, fingerprint="other"),
    ]
    cards.save_scores([*others, *mine])
    found = cards.known_scores(GradeSource.IMPORTED, "ada", "fp", ["q1", "q2", "q3"])
    assert found == {"q1": mine[0], "q2": mine[1]}
    assert cards.known_scores(GradeSource.RUBRIC, "ada", "fp", ["q1"]) == {"q1": others[0]}
    assert cards.known_scores(GradeSource.IMPORTED, "", "fp", ["q1"]) == {"q1": others[1]}
    assert cards.known_scores(GradeSource.IMPORTED, "ada", "fp", []) == {}


def test_a_later_score_replaces_the_earlier_one(cards: SqlCardStore) -> None:
    cards.save_scores([row("q1", 0.2, basis="old")])
    cards.save_scores([row("q1", 0.9, basis="new")])
    assert cards.known_scores(GradeSource.IMPORTED, "ada", "fp", ["q1"]) == {
        "q1": row("q1", 0.9, basis="new")
    }


def test_forgotten_scores_go_and_nothing_else(cards: SqlCardStore) -> None:
    kept = [
        row("q1"),
        row("q2", source=GradeSource.RUBRIC),
        row("q2", judge="bob"),
        row("q2", fingerprint="other"),
    ]
    cards.save_scores([*kept, row("q2")])
    cards.save_scores([row("q3", 0.7)], forgotten=[row("q2")[:4], row("never")[:4]])
    found = cards.known_scores(GradeSource.IMPORTED, "ada", "fp", ["q1", "q2", "q3"])
    assert found == {"q1": kept[0], "q3": row("q3", 0.7)}
    for other in kept[1:]:
        assert cards.known_scores(*other[:3], ["q2"]) == {"q2": other}


def test_more_scores_than_one_statement_takes_are_kept_and_found(cards: SqlCardStore) -> None:
    cards.save_scores([row(f"q{i}", i / 1203) for i in range(1203)])
    found = cards.known_scores(GradeSource.IMPORTED, "ada", "fp", [f"q{i}" for i in range(2000)])
    assert len(found) == 1203
    assert found["q600"].score == 600 / 1203


def test_a_judge_whose_name_no_database_takes_is_refused_and_nothing_is_kept(cards: SqlCardStore) -> None:
    with pytest.raises(StoreError, match="cannot be stored"):
        cards.save_scores([row("q1"), row("q2", judge="a\x00b")])
    assert cards.known_scores(GradeSource.IMPORTED, "ada", "fp", ["q1"]) == {}


def test_no_scores_are_stored_as_none(cards: SqlCardStore) -> None:
    cards.save_scores([])
    assert cards.known_scores(GradeSource.IMPORTED, "ada", "fp", ["q1"]) == {}
