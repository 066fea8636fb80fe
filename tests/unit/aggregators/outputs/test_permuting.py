import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregators.outputs.permuting import drawn, mapped_back, permuted, read_permuted, spelled
from orchestrator.domain.queries import LETTERS
from skills.grading.grader import AnswerGrader
from tests.fakes.ballots import FOUR, says, state, written
from tests.fakes.grader import FakeGrader


@given(st.integers(2, 12), st.integers(1, 8), st.integers(0, 99))
def test_permutations_differ_from_each_other_and_from_the_question(n: int, k: int, seed: int) -> None:
    orders = drawn(n, k, random.Random(seed))
    assert len(set(orders)) == len(orders) <= k
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert tuple(range(n)) not in orders
    assert orders == drawn(n, k, random.Random(seed))
    assert orders  # even two options can be swapped


@given(st.permutations(range(4)), st.integers(0, 3))
def test_mapping_back_finds_the_option_that_was_shown(order: list[int], place: int) -> None:
    shown = permuted(FOUR, tuple(order))
    letter = mapped_back(LETTERS[place], tuple(order))
    assert letter is not None
    assert shown.options[place] == FOUR.options[LETTERS.index(letter)]
    assert shown.answer is None


@pytest.mark.parametrize("letter", ["E", "", "AB", "1", "é"])
def test_what_is_no_place_maps_to_nothing(letter: str) -> None:
    assert mapped_back(letter, (1, 0, 3, 2)) is None


def test_votes_on_the_permuted_question_are_for_its_own_options() -> None:
    reply = written("a", "answer: A")
    [ballot] = read_permuted(FakeGrader(), state({"a": 0.5}), [(reply, (2, 0, 1, 3))])
    assert (ballot.value, ballot.accuracy) == ("C", 0.5)


def test_an_answer_in_words_is_read_as_that_answer() -> None:
    assert AnswerGrader().read(FOUR, says("a", None, text=spelled("C"))) == "C"
