from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.cards import RIGHT, WRONG
from orchestrator.errors import SkillError
from skills.grading.grader import AnswerGrader
from skills.grading.number import canonical
from tests.fakes.grading import make_query, make_response

GRADER = AnswerGrader()
QUERY = make_query("number", "42")

numbers = st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=1000)


def read(text: str, *, truncated: bool = False) -> str | None:
    return GRADER.read(QUERY, make_response(text, truncated=truncated))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", "42"),
        ("1,234.5", "1234.5"),
        ("-3", "-3"),
        ("−5", "-5"),
        ("3/4", "0.75"),
        ("1/3", "1/3"),
        ("1e3", "1000"),
        ("3 x 10^8 m/s", "300000000"),
        ("3.0 \\times 10^{8}", "300000000"),
        ("The answer is 42.", "42"),
        ("The answer is approximately 3.14", "3.14"),
        ("The answer is 42 because 6*7 = 42", "42"),
        ("The answer is .5", "0.5"),
        ("$42", "42"),
        ("-$5", "-5"),
        ("42 km", "42"),
        ("9.8 m/s^2", "9.8"),
        ("42%", "42"),
        ("\\boxed{42}", "42"),
        ("\\boxed{-\\frac{1}{2}}", "-0.5"),
        ("$\\boxed{1{,}234}$", "1234"),
        ("6 * 7 = 42", "42"),
        ("x = 42", "42"),
        ("First 6.\nThen 7.\nSo 6 * 7 = 42.", "42"),
        ("#### 72", "72"),
        ("**Answer: 7 apples**", "7"),
        ("-0", "0"),
        ("0.50", "0.5"),
        ("The answer is 3. No: the answer is 4.", "4"),
    ],
)
def test_reads_the_stated_number(text: str, value: str) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "It takes 3 workers 5 days",
        "The answer is 3 or 4",
        "The answer is unknown",
        "Step 2 is unclear to me",
        "5 hours 30 minutes",
        "2024-01-02",
        "12:30",
        "1,23",
        "1.2.3",
        "2^10",
        "1/0",
        "1e999999999",
        "9" * 500,
        "forty-two",
        "`",
        "I'm sorry, but I can't do 2 things.",
    ],
)
def test_what_states_no_single_number_is_an_abstention(text: str) -> None:
    assert read(text) is None


def test_a_number_at_the_cut_may_be_half_a_number() -> None:
    assert read("The answer is 4", truncated=True) is None
    assert read("The answer is 42\nThis is bec", truncated=True) == "42"


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("1000000", "1000001", False),  # integers are exact
        ("0.3333333", "1/3", True),  # off by 1e-7
        ("0.3333", "1/3", False),  # off by 1e-4
        ("0", "0.0000001", False),  # a relative tolerance leaves zero alone
    ],
)
def test_tolerance_is_relative_and_integers_are_exact(a: str, b: str, same: bool) -> None:
    assert GRADER.equivalent(QUERY, a, b) is same
    assert GRADER.equivalent(QUERY, b, a) is same


def test_grades_against_a_reference_with_unit() -> None:
    query = make_query("number", "1,000 m")
    outcomes = [GRADER.grade(query, make_response(text)).outcome for text in ("1000", "1e3 m", "100")]
    assert outcomes == [RIGHT, RIGHT, WRONG]


def test_a_reference_that_is_no_number_is_refused() -> None:
    with pytest.raises(SkillError, match="'a lot' is not a number"):
        GRADER.grade(make_query("number", "a lot"), make_response("42"))


@given(numbers)
def test_canonical_form_is_exact_and_stable(value: Fraction) -> None:
    assert Fraction(canonical(value)) == value
    assert read(canonical(value)) == canonical(value)


@given(numbers, st.sampled_from(["{}", "The answer is {}.", "\\boxed{{{}}}", "x = {}", "{} km", "${}$"]))
def test_all_forms_of_a_number_are_one_vote(value: Fraction, form: str) -> None:
    stated = read(form.format(canonical(value)))
    assert stated is not None
    assert GRADER.equivalent(QUERY, stated, canonical(value))


@given(numbers, numbers)
def test_equivalence_is_reflexive_and_symmetric(a: Fraction, b: Fraction) -> None:
    x, y = canonical(a), canonical(b)
    assert GRADER.equivalent(QUERY, x, x)
    assert GRADER.equivalent(QUERY, x, y) == GRADER.equivalent(QUERY, y, x)


@given(st.text(max_size=200))
def test_any_text_reads_as_a_number_or_as_nothing(text: str) -> None:
    value = read(text)
    assert value is None or Fraction(value) == Fraction(value)
