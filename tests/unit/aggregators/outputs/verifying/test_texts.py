import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregators.outputs.verifying.texts import (
    distance,
    letters,
    loop_share,
    matches,
    n_eliminated,
    n_hedges,
    n_surrenders,
    numbers,
    occurs,
    split_at_statement,
    words,
)

finite = st.integers(min_value=-60, max_value=60).map(lambda n: n / 4)
some_text = st.text(alphabet="ab 12.,eE-×*^{}()x10\n=")


def test_reasoning_ends_where_the_answer_is_stated_last() -> None:
    parts = split_at_statement("The answer is 4? No: 2 + 3 = 5. The answer is (B).")
    assert parts.reasoning == "The answer is 4? No: 2 + 3 = 5. The "
    assert parts.n_statements == 2


@pytest.mark.parametrize("statement", ["Answer: B", "\\boxed{B}", "#### B", "the ANSWER is B"])
def test_an_answer_is_stated_in_several_ways(statement: str) -> None:
    assert split_at_statement(f"so\n{statement}").n_statements == 1


def test_without_a_statement_all_of_it_is_reasoning() -> None:
    assert split_at_statement("I go on and") == ("I go on and", 0)


def test_loop_share_by_hand() -> None:
    """Nine words: six 4-grams `a b c d`, …; of `x a b c d` twice, one of the six is a repetition."""
    assert loop_share(["a", "b", "c", "d", "x", "a", "b", "c", "d"]) == pytest.approx(1 / 6)
    assert loop_share(["la"] * 103) == pytest.approx(0.99)
    assert loop_share(["too", "short"]) == 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$1,200 at 8%", [1200, 8]),
        ("from -0.5 to 2.", [-0.5, 2]),
        ("3e8 m/s or 3 × 10^8", [3e8, 3e8]),
        (r"1.6 \times 10^{-19}", [1.6e-19]),
        ("none", []),
    ],
)
def test_numbers_are_read_with_commas_signs_and_powers(text: str, found: list[float]) -> None:
    assert numbers(text) == pytest.approx(found)


@given(some_text)
def test_any_text_can_be_read(text: str) -> None:
    assert not any(math.isnan(number) for number in numbers(text))
    assert 0 <= loop_share(words(text)) < 1
    assert split_at_statement(text).reasoning == text[: len(split_at_statement(text).reasoning)]


def test_distance_by_hand() -> None:
    """|100 − 99| / 100; a sign turned round is 2."""
    assert distance(100, 99) == pytest.approx(0.01)
    assert distance(-3, 3) == 2
    assert distance(0, 0) == 0


def test_rounded_numbers_match_and_others_do_not() -> None:
    assert matches(3.14159, 3.14)
    assert not matches(3.14159, 3.1)
    assert matches(math.inf, math.inf)
    assert not matches(math.inf, 1.0)


def test_letters_name_options_only_where_they_are_labels() -> None:
    assert letters("A dog is (B). Option C fits.\nD) no\nAn I.") == ["B", "C", "D"]


@given(finite, st.lists(finite, min_size=1, max_size=5))
def test_a_number_occurs_if_one_of_them_matches(value: float, found: list[float]) -> None:
    assert occurs(value, sorted(found)) == any(matches(value, number) for number in found)


def test_phrases_are_counted() -> None:
    tokens = words("A is incorrect and B can be ruled out. However, perhaps C; the data are not given.")
    joined = " ".join(tokens)
    assert (n_eliminated(joined), n_hedges(tokens), n_surrenders(joined)) == (2, 2, 1)
