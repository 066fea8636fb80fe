"""Answers as they are said rather than written down: numbers in words, conclusions, first clauses."""

import pytest

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.queries import AnswerType, Query
from skills.grading.grader import AnswerGrader
from skills.grading.number_words import in_digits

GRADER = AnswerGrader()


def read(query: Query, text: str) -> str | None:
    response = Response(
        expert_id="e", role=CallRole.EXPERT, stage=0, text=text, finish_reason=FinishReason.STOP
    )
    return GRADER.read(query, response)


def query_of(answer_type: AnswerType, options: tuple[str, ...] = ()) -> Query:
    return Query(id="q", question="Which?", answer_type=answer_type, options=options)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("seven", "7"),
        ("forty-two", "42"),
        ("minus three", "-3"),
        ("one hundred and five", "105"),
        ("a hundred", "100"),
        ("two hundred thousand and one", "200001"),
        ("twenty-one days", "21"),
        ("two thirds", "2/3"),
        ("a half", "1/2"),
        ("two and a half", "2 1/2"),
        ("ten, since 5 + 5 = 10", "10"),
        ("forty-two (42)", "42"),
        ("one of them", None),
        ("one apple", None),
        ("two or three", None),
        ("five six", None),
        ("three in ten", None),
        ("hundred", None),
        ("a matter of taste", None),
        ("", None),
    ],
)
def test_a_number_in_words_is_read_where_nothing_but_a_unit_follows(text: str, digits: str | None) -> None:
    assert in_digits(text) == digits


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is seven.", "7"),
        ("Answer: two and a half", "2.5"),
        ("Answer: minus 7", "-7"),
        ("Answer: negative 0.5", "-0.5"),
        ("Answer: €1.200,50", "1200.5"),
        ("Answer: 1 234,5", "1234.5"),
        ("Answer: 12.345.678,9", "12345678.9"),
        ("Answer: 1.234,567", None),
        ("Answer: 3.142,2.718", None),
        ("Answer: √16", "4"),
        ("Answer: 2√2.25", "3"),
        ("Answer: 5C2", None),
        ("Answer: 5C", "5"),
        ("It is 42!", "42"),
        ("It's 42.", "42"),
        ("Therefore, she has 42!", "42"),
        ("5! = 120", "120"),
        ("n = 5!", "120"),
        ("First 3, then 4.\nTotal: 7", "7"),
        ("You get 3 from the first and 4 from the second.", None),
    ],
)
def test_a_number_is_read_as_it_is_said(text: str, value: str | None) -> None:
    assert read(query_of(AnswerType.NUMBER), text) == value


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("Therefore, B.", "B"),
        ("Solution: (B) Paris", "B"),
        ("Correct: B", "B"),
        ("It is Paris.", "B"),
        ("Paris. It is the capital.", "B"),
        ("Paris — the capital of France", "B"),
        ("Paris, not London.", None),
        ("Paris, London and Rome are capitals.", None),
        ("Therefore, not B.", None),
        ("Solution: E", None),
        ("It is a city.", None),
    ],
)
def test_an_option_is_read_from_a_conclusion_or_the_first_clause(text: str, letter: str | None) -> None:
    assert read(query_of(AnswerType.CHOICE, ("London", "Paris", "New York", "Rome")), text) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("Yes, it is.", "A"),
        ("No, because nobody does.", "B"),
        ("No - it does not.", "B"),
        ("Yes and no", None),
        ("No, I think yes.", None),
    ],
)
def test_yes_and_no_are_options_with_their_reason(text: str, letter: str | None) -> None:
    assert read(query_of(AnswerType.CHOICE, ("Yes", "No")), text) == letter


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Step 1: x = [1]\nStep 2: x = [1, 2]\n\nTherefore the output is **[1, 2]**.", "[1, 2]"),
        ("Step 1: x = 'a'\nStep 2: x = 'ab'\nSo it is longer.", None),
        ("Therefore, `f([1, 2])` evaluates to `(1, 2)`.", "(1, 2)"),
        ("x = [1], so f(x) returns [2].", "[2]"),
        ("The output of f([1]) is [2].", "[2]"),
        ("The final value of `x` is `[1, 2]`.", "[1, 2]"),
        ("So the output is: 'ab' (a string)", "'ab'"),
        ("f([1]) returns [2]\n\nBecause 1 = 1.", "[2]"),
        ("[1, 2]\n\nHere 1 + 1 = 2.", "[1, 2]"),
        ("f(3) == 'a b', since x = [1]", "'a b'"),
        ("f returns nothing", None),
    ],
)
def test_a_literal_is_what_comes_out_and_no_step_on_the_way(text: str, value: str | None) -> None:
    assert read(query_of(AnswerType.LITERAL), text) == value


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (r"(x, y) = (1, 2)", "(1, 2)", True),
        (r"(x_1, x_2) = (1, 2)", "(1, 2)", True),
        (r"(y, x) = (1, 2)", "(1, 2)", False),
        (r"\emptyset", r"\varnothing", True),
        (r"y'", r"y^{\prime}", True),
        ("y'", "y", False),
        ("y''", "y'", False),
        (r"10\text{ am}", r"10\text{ pm}", False),
        (r"10\text{ am}", r"10 \text{ am}", True),
    ],
)
def test_primes_coordinates_and_empty_sets_are_told_apart_or_not(one: str, other: str, is_same: bool) -> None:
    query = query_of(AnswerType.LATEX)
    a, b = read(query, f"\\boxed{{{one}}}"), read(query, f"\\boxed{{{other}}}")
    assert a is not None
    assert b is not None
    assert GRADER.equivalent(query, a, b) is is_same


def test_an_empty_box_states_nothing() -> None:
    assert read(query_of(AnswerType.LATEX), r"\boxed{}") is None
