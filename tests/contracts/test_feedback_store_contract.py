"""What every feedback store promises, whatever the database and however many threads share it."""

import threading

import pytest

from orchestrator.domain.cards import Tally
from orchestrator.domain.feedback import Feedback, FeedbackCount
from orchestrator.domain.grades import GradeSource
from orchestrator.errors import StoreError
from orchestrator.ports.cards import ScoreRow
from orchestrator.store import Database, SqlCardStore, SqlFeedbackStore


@pytest.fixture
def feedback(database: Database) -> SqlFeedbackStore:
    return SqlFeedbackStore(database)


def judged(query_id: str = "q", *, key: str = "", score: float = 1.0, day: int = 5) -> Feedback:
    return Feedback(job_id="job", query_id=query_id, key=key, score=score, day=day)


def count(n_right: float, *, skill: str = "algebra", day: int = 5, fingerprint: str = "fp") -> FeedbackCount:
    return FeedbackCount(fingerprint, skill, day, Tally(n_right=n_right))


def test_counts_of_one_day_add_up(feedback: SqlFeedbackStore) -> None:
    feedback.save_feedback(judged("q1"), [count(1), count(1, skill="")])
    feedback.save_feedback(judged("q2"), [count(0.5)])
    assert feedback.feedback_counts(["fp"], since_day=0) == [count(1, skill=""), count(1.5)]


def test_a_judgement_counts_once_per_key_and_the_first_stands(feedback: SqlFeedbackStore) -> None:
    first = judged(score=1.0)
    assert feedback.save_feedback(first, [count(1)]) == first
    assert feedback.save_feedback(judged(score=0.0, day=6), [count(0, day=6)]) == first
    assert feedback.save_feedback(judged(key="another"), [count(1)]).key == "another"
    assert feedback.feedback_counts(["fp"], since_day=0) == [count(2)]


def test_only_the_experts_and_days_asked_for_are_read(feedback: SqlFeedbackStore) -> None:
    counts = [count(1, day=4), count(1, day=5), count(1, day=6, fingerprint="other")]
    feedback.save_feedback(judged(), counts)
    assert feedback.feedback_counts(["fp"], since_day=5) == [count(1, day=5)]
    assert feedback.feedback_counts([], since_day=0) == []


def test_scores_by_users_are_added_up_and_those_of_others_are_not(
    feedback: SqlFeedbackStore, database: Database
) -> None:
    of = (GradeSource.FEEDBACK, GradeSource.FEEDBACK, GradeSource.FEEDBACK, GradeSource.IMPORTED)
    rows = [ScoreRow(source, f"key{i}", "fp", "q", 0.1 * (i + 1)) for i, source in enumerate(of)]
    SqlCardStore(database).save_scores([*rows, ScoreRow(GradeSource.FEEDBACK, "", "other", "q", 1.0)])
    found = feedback.feedback_grades(["fp", "nobody"])
    assert set(found) == {"fp"}
    assert (found["fp"].n, found["fp"].total, found["fp"].squares) == (3, 0.6, 0.14)
    assert feedback.feedback_grades([]) == {}


def test_a_key_that_no_database_takes_is_refused(feedback: SqlFeedbackStore) -> None:
    with pytest.raises(StoreError, match="cannot be stored"):
        feedback.save_feedback(judged(key="a\x00b"), [count(1)])
    assert feedback.feedback_counts(["fp"], since_day=0) == []


def test_many_at_once_lose_and_repeat_nothing(feedback: SqlFeedbackStore) -> None:
    """Four threads judge the same ten queries: each query counts once."""

    def judge_all() -> None:
        for i in range(10):
            feedback.save_feedback(judged(f"q{i}"), [count(1, skill=s) for s in ("b", "a", "")])

    threads = [threading.Thread(target=judge_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = feedback.feedback_counts(["fp"], since_day=0)
    assert [c.tally.n_right for c in found] == [10, 10, 10]
