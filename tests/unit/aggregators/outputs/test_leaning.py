import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregators.outputs.leaning import PSEUDO_ANSWERS, Leanings, by_letter, looked_up

ABSTAINED = -1


def leanings(said: list[int], right: list[int], n_options: list[int]) -> list[float]:
    """Of one expert."""
    columns = (np.array(said)[:, None], np.array(right), np.array(n_options))
    of_expert: list[float] = Leanings(*columns).of(np.arange(len(said)))[0].tolist()
    return of_expert


def test_an_option_that_is_said_more_often_than_chance_when_wrong_by_hand() -> None:
    """Six wrong answers, all B, to questions whose right one of three is C: chance would say A and B three
    times each."""
    found = leanings([1] * 6, [2] * 6, [3] * 6)
    assert found == pytest.approx(
        [
            math.log(PSEUDO_ANSWERS / (3 + PSEUDO_ANSWERS)),
            math.log((6 + PSEUDO_ANSWERS) / (3 + PSEUDO_ANSWERS)),
            0,
        ]
    )


def test_right_answers_and_abstentions_say_nothing() -> None:
    assert leanings([0, 0, ABSTAINED], [0, 0, 1], [4, 4, 4]) == [0, 0, 0, 0]


def test_questions_without_options_or_with_an_unknown_answer_say_nothing() -> None:
    assert leanings([0, ABSTAINED], [-1, -1], [4, 0]) == [0, 0, 0, 0]


def test_chance_knows_how_many_options_each_question_has() -> None:
    """Always the only wrong option of two: no leaning, whatever other questions have."""
    found = leanings([1, 1, 1], [0, 0, 0], [2, 2, 4])
    assert found[1] == pytest.approx(math.log((3 + PSEUDO_ANSWERS) / (2 + 1 / 3 + PSEUDO_ANSWERS)))


def test_only_the_given_questions_are_counted() -> None:
    said, right, n_options = np.array([[1], [0]]), np.array([2, 2]), np.array([3, 3])
    first, second = (Leanings(said, right, n_options).of(np.array([row]))[0] for row in (0, 1))
    assert first[1] == second[0] > 0 > first[0]


@given(
    st.lists(
        st.tuples(st.integers(-1, 3), st.integers(0, 3), st.integers(4, 6)), min_size=1, max_size=30
    ).map(lambda rows: [list(column) for column in zip(*rows, strict=True)])
)
def test_what_is_given_and_what_chance_would_give_add_up(columns: list[list[int]]) -> None:
    said, right, n_options = columns
    n_wrong = sum(s >= 0 and s != r for s, r in zip(said, right, strict=True))
    ratios = np.exp(leanings(said, right, n_options))
    least, most = PSEUDO_ANSWERS / (n_wrong / 3 + PSEUDO_ANSWERS), (n_wrong + PSEUDO_ANSWERS) / PSEUDO_ANSWERS
    assert least - 1e-9 <= ratios.min() <= ratios.max() <= most + 1e-9


def test_each_expert_is_looked_up_for_what_it_said() -> None:
    table = np.array([[0.1, 0.2], [0.3, 0.4]])
    assert looked_up(table, np.array([[1, 0], [ABSTAINED, 1]])).tolist() == [[0.2, 0.3], [0.0, 0.4]]


def test_leanings_by_letter() -> None:
    assert by_letter([0.5, -0.5]) == {"A": 0.5, "B": -0.5}
