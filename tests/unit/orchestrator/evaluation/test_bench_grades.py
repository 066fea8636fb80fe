"""Open questions of a bench: grades where there are scores, and nothing where there are none."""

from collections.abc import Sequence

import pytest

from orchestrator.domain.answers import Answer
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.evaluation.bench_grades import (
    NO_SCORES,
    Answered,
    AnswerScores,
    GradedBench,
    by_expert,
    graded_bench,
)
from orchestrator.evaluation.grades import LEAST_PAIRED
from orchestrator.ports.profiling import GivenScores

SUM = Query(id="sum", question="1 + 1?", answer="2")


def letters(n: int) -> list[Query]:
    return [Query(id=f"q{i}", question=f"Letter {i}.", answer_type=AnswerType.OPEN) for i in range(n)]


def by(expert_id: str | None, text: str = "Dear Ada", **more: str) -> Answer:
    return Answer(text=text, answered_by=expert_id, **more)


def scores(n: int, **of_expert: float) -> AnswerScores:
    given = {(f"q{i}", e): score for i in range(n) for e, score in of_expert.items()}
    return by_expert(GivenScores(given, "eve"))


def bench(n: int, given: AnswerScores, **answers: Answer) -> GradedBench:
    made = graded_bench(letters(n), {name: [answer] * n for name, answer in answers.items()}, given)
    assert made is not None
    return made


def test_exact_questions_are_no_part_of_it() -> None:
    assert graded_bench([SUM], {"auto": [by("ada")]}, NO_SCORES) is None
    mixed = graded_bench([SUM, *letters(2)], {"auto": [by("ada")] * 3}, scores(2, ada=0.5))
    assert mixed is not None
    assert (mixed.n_queries, mixed.rows[0].n, mixed.rows[0].grade) == (2, 2, 0.5)


def test_an_answer_has_the_score_of_the_expert_whose_words_it_is() -> None:
    found = bench(2, scores(2, ada=0.8, bob=0.4), best_single=by("ada"), auto=by("bob"), synthesize=by(None))
    assert [(row.name, row.grade, row.n, row.n_unscored) for row in found.rows] == [
        ("best_single", pytest.approx(0.8), 2, 0),
        ("auto", pytest.approx(0.4), 2, 0),
        ("synthesize", None, 0, 2),
    ]


def test_no_answer_has_0() -> None:
    failed = by(None, "", error_code="no_answer", error="nobody")
    found = bench(2, scores(2, ada=0.8), auto=failed, best_single=by("ada", "  "))
    assert [row.grade for row in found.rows] == [0.0, 0.0]


def test_a_steady_gain_is_a_verdict_and_few_questions_are_none() -> None:
    given = scores(LEAST_PAIRED, ada=0.5, bob=0.6)
    many = bench(LEAST_PAIRED, given, best_single=by("ada"), auto=by("bob"))
    assert "route: 'auto' beats the best single expert by 10.0 points" in many.verdict
    few = bench(LEAST_PAIRED - 1, given, best_single=by("ada"), auto=by("bob"))
    assert "too few scores" in few.verdict
    assert few.differences == ()


def test_a_difference_by_noise_is_not_separated() -> None:
    n = 2 * LEAST_PAIRED
    swing = {(f"q{i}", e): float((i + k) % 2) for i in range(n) for k, e in enumerate(("ada", "bob"))}
    found = bench(n, by_expert(GivenScores(swing)), best_single=by("ada"), auto=by("bob"))
    assert "is not separated from" in found.verdict


def test_without_scores_nothing_is_said() -> None:
    found = bench(3, NO_SCORES, best_single=by("ada"), auto=by("bob"))
    assert found.verdict == "3 open questions: no answer has a score, so nothing is said of them"


def test_a_judge_scores_what_was_written_whoever_wrote_it_and_is_asked_once() -> None:
    asked: list[int] = []

    def judged(pairs: Sequence[Answered]) -> list[float | None]:
        asked.append(len(pairs))
        return [None if answer.text == "?" else len(answer.text) / 10 for _, answer in pairs]

    silent = by(None, "", error_code="no_answer", error="nobody")
    answers = {
        "auto": by("ada", "abc"),
        "synthesize": by(None, "abcde"),
        "odd": by("bob", "?"),
        "none": silent,
    }
    found = bench(2, AnswerScores(judged, "eve"), **answers)
    assert [row.grade for row in found.rows] == [pytest.approx(0.3), pytest.approx(0.5), None, 0.0]
    assert asked == [6], "nobody is asked about nothing"
    assert found.judge == "eve"
