"""A merged expert is kept if it is better than its best parent, or as good within a margin."""

import numpy as np
import pytest

from orchestrator.domain.cards import ABSTAINED, RIGHT, UNKNOWN, WRONG
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.evaluation.merges import divided, judged, measured_right, of_keys, owned_keys


def right(n: int, of: int = 200) -> np.ndarray:  # type: ignore[type-arg]
    return np.arange(of) < n


@pytest.mark.parametrize(
    ("merged", "parents", "kept", "why"),
    [
        (right(180), {"a": right(100), "b": right(60)}, True, "kept: better; "),
        (
            right(100),
            {"a": right(100), "b": right(100)},
            True,
            "kept: as good, and one model in place of 2; ",
        ),
        (right(99), {"a": right(100)}, True, "kept: as good"),
        (right(60), {"a": right(100), "b": right(20)}, False, "not kept: "),
        (right(90), {"a": right(100)}, False, "not kept: "),
        (right(0), {"a": right(200)}, False, "not kept: "),
        (right(10, of=10), {"a": right(0, of=10)}, False, "not kept: 10 held-out questions say nothing"),
        (right(200), {}, False, "not kept: no parent"),
    ],
)
def test_by_hand(merged: object, parents: dict[str, object], kept: bool, why: str) -> None:
    found = judged(merged, parents)  # type: ignore[arg-type]
    assert (found.kept, found.why[: len(why)]) == (kept, why)


def test_the_best_parent_is_compared_in_pairs() -> None:
    """Right on other questions than the best parent, and on as many: the interval is wide, and 0 is in it."""
    found = judged(right(100), {"worse": right(50), "best": ~right(100)})
    assert found.best == "best"
    assert found.difference is not None
    assert found.difference.value == 0
    assert found.difference.low < -0.1 < 0.1 < found.difference.high
    assert not found.kept


def questions(n: int, *, start: int = 0) -> list[Query]:
    return [
        Query(id=f"q{i}", question=f"What is {i}?", answer="1", skills=("even" if i % 2 == 0 else "odd",))
        for i in range(start, start + n)
    ]


def test_a_profile_is_halved_skill_by_skill_whatever_the_order() -> None:
    asked = questions(40)
    calibration, held_out = divided(asked, None, seed=7)
    assert {q.id for q in (*calibration, *held_out)} == {q.id for q in asked}
    assert sorted(q.skills[0] for q in held_out) == ["even"] * 10 + ["odd"] * 10
    assert divided(asked[::-1], None, seed=7) == (calibration, held_out)
    assert divided(asked, None, seed=8) != (calibration, held_out)


def test_no_question_is_in_both_parts() -> None:
    calibration, held_out = divided(questions(10), questions(10, start=5), seed=0)
    assert [q.id for q in calibration] == [f"q{i}" for i in range(10)]
    assert [q.id for q in held_out] == [f"q{i}" for i in range(10, 15)]
    assert divided(questions(3), questions(3), seed=0).held_out == ()
    assert divided(questions(1), None, seed=0).held_out == ()


def test_what_somebody_could_not_be_asked_counts_for_nobody() -> None:
    right = measured_right({"m": [RIGHT, WRONG, UNKNOWN, RIGHT], "p": [RIGHT, ABSTAINED, RIGHT, UNKNOWN]})
    assert {name: row.tolist() for name, row in right.items()} == {"m": [True, False], "p": [True, False]}


def test_questions_belong_to_whoever_is_best_at_their_kind() -> None:
    """q0, q2 are even, q1, q3 odd; both know one odd one: the first has them."""
    asked = questions(4)
    right = [np.array([False, True, False, False]), np.array([True, False, True, True])]
    owned = owned_keys(asked, right)
    assert owned == [{("", ("odd",))}, {("", ("even",))}]
    assert [of_keys(asked, keys) for keys in owned] == [[1, 3], [0, 2]]
    assert of_keys(asked, set()) == []


@pytest.mark.parametrize("has_held_out", [False, True])
def test_open_questions_calibrate_and_judge_nothing(has_held_out: bool) -> None:
    exact = [Query(id=f"e{i}", question=f"{i} + 1?", answer=str(i + 1)) for i in range(4)]
    opened = [Query(id=f"o{i}", question=f"Letter {i}?", answer_type=AnswerType.OPEN) for i in range(4)]
    held_out = [
        exact[0],
        opened[0],
        *(q.replaced(question=f"new {q.question}") for q in (exact[1], opened[1])),
    ]
    found = divided([*exact[:3], *opened[:3]], held_out if has_held_out else None, seed=0)
    used = [*found.calibration, *found.held_out]
    assert {query.answer_type for query in used} == {AnswerType.TEXT}
    assert len(used) == (4 if has_held_out else 3)
