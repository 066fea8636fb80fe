from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.cards import RIGHT, WRONG
from orchestrator.domain.queries import Comparison, Query
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
        ('{"answer": "$40 (visit) + $105 (labor) = $145"}', "145"),
        ('{"answer": "20"}\nThe total is 720 kg', "20"),
        ('{"answer": 42.0}', "42"),
        ("Answer: 2**10", "1024"),
        ("2^10", "1024"),
        ("\\boxed{7!}", "5040"),
        ("The answer is 42!", "42"),
        ("1½", "1.5"),
        ("The answer is 2.5 million", "2500000"),
        ("118 000", "118000"),
        ("2:00 pm", "2"),
        ("≈ 42", "42"),
        ("around 42", "42"),
        ("US$42", "42"),
        ("42 = 6*7", "42"),
        ("Answer: 42 = forty-two", "42"),
        ("Answer: The total trip took 6 hours.", "6"),
        ("Answer: Natalia sold 72 clips altogether.", "72"),
        ("The answer is 6 additional groups are needed to form 12 groups.", "6"),
        ("The answer is 200 minutes of walking over 5 days.", "200"),
        ("The answer is 8 solutions in the interval 0 < x < 24.", "8"),
        ("The answer is 1058, which can be checked: 160 * 1058 mod 1399 = 1.", "1058"),
        ("Answer: 42 km (since 6*7 = 42)", "42"),
        ("Answer: 43 * 3 = 129. And 23 * 4 = 92. Therefore, he raises $221.", "221"),
        ('{"answer": "$25,000/year"}', "25000"),
        ("Therefore, Janet makes $18 every day.", "18"),
        ("Janet makes $18 per day.", "18"),
        ("She makes 9 * 2 = <<9*2=18>>18 dollars every day.", "18"),
        ("$$\n18\n$$", "18"),
        ("Solution: 18", "18"),
        ("The answer is 9 times that the two of them can play.", "9"),
        ("Answer: √16", "4"),
        ("Answer: seven (7)", "7"),
        ("Answer: ✅ 42", "42"),
        ("Answer: 42 \\text{ cm}^2", "42"),
        ("Answer: 42 [1]", "42"),
        ("Answer: «42»", "42"),
        ("→ 18", "18"),
        ("First 3, then 4.\nJanet makes **$18** every day with 2 hens.", "18"),
        ('{"answer": "Al rode 12 * 4 = 48 miles. Bo rode 10 * 2 = 20. Both rode 48 + 20 = 68 miles."}', "68"),
        ("\\boxed{42\\text{ km}}", "42"),
        ("\\boxed{42^\\circ}", "42"),
        ("Answer: – 5", "-5"),
        ("Answer: ４２", "42"),
        ("Answer: {5}", "5"),
        ("<think>It is 7.</think>\n#### 8", "8"),
        ("<think>Is it 7?</think>{'answer': '8'}", "8"),
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
        "1/0",
        "Answer: The exact value of f(2015) cannot be determined.",
        '{"answer": "The solutions are $x = -4$ and $x = 1$"}',
        "The answer in the JSON format is a guess. If it were in cents, the answer would be 3100 cents.",
        "Answer: >= 4",
        "Answer: x <= 4",
        "Answer: log 100",
        "Answer: 0x10",
        "Answer: 2 thousand five hundred",
        "Answer: 4x^2",
        "Answer: 3; 4",
        "Answer: 12 - 10d",
        "Answer: 160 - r",
        "Answer: 3x = 12",
        "Answer: x = 3, y = 4",
        "Answer: x < 5",
        "Answer: ±5",
        "Answer: more than 5",
        "Answer: 5-7",
        "5–7",
        "Answer: 40 to 42",
        "The answer is between 3 and 4",
        "Answer: 7/1/2024",
        "Answer: 1/2/2024",
        "Answer: 2 : 3",
        "Answer: 5 ft 3 in",
        "Answer: 5 + 3i",
        "Answer: 3 minutes and 36 seconds",
        "Answer: 4 blue and 6 red boxes",
        '{"answer": "27 selfies, 18 portraits"}',
        '{"answer": "$56,000 + the new salary"}',
        '{"answer": "x", "reasoning": "The answer is 5"}',
        "If it were in cents, the answer would be 3100",
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


@pytest.mark.parametrize(("a", "b"), [("1000000", "1000001"), ("1000000.5", "1000001"), ("0.3333333", "1/3")])
def test_what_is_written_otherwise_is_another_number(a: str, b: str) -> None:
    assert not GRADER.equivalent(QUERY, a, b)


def with_comparison(answer: str, comparison: Comparison) -> Query:
    return Query(id="q", question="?", answer=answer, answer_type=QUERY.answer_type, comparison=comparison)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("0.3333333", "1/3", True),  # off by 1e-7
        ("0.3333", "1/3", False),  # off by 1e-4
        ("0", "0.0000001", False),  # a relative tolerance leaves zero alone
        ("1000000", "1000001", True),
    ],
)
def test_a_tolerance_is_relative_to_the_larger_number(a: str, b: str, same: bool) -> None:
    query = with_comparison("1", Comparison(tolerance=1e-6))
    assert GRADER.equivalent(query, a, b) is same
    assert GRADER.equivalent(query, b, a) is same


def test_kept_units_tell_numbers_apart() -> None:
    query = with_comparison("5 km", Comparison(units="keep"))
    texts = ["5 km", "5 kilometers", "5 m", "5", "Answer: 5 km.", "$5"]
    values = [GRADER.read(query, make_response(text)) for text in texts]
    assert values == ["5 km", "5 km", "5 m", "5", "5 km", "5 $"]
    graded = [GRADER.grade(query, make_response(text)).outcome for text in texts]
    assert graded == [RIGHT, RIGHT, WRONG, RIGHT, RIGHT, WRONG]
    assert not GRADER.equivalent(query, "5 km", "5")  # else it would be 5 m as well


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


few = st.sampled_from(["1", "2", "1 km", "1 m", "2 km", "0.5"])


@given(few, few, few, st.sampled_from(["ignore", "keep"]))
def test_equality_is_an_equivalence(a: str, b: str, c: str, units: str) -> None:
    query = with_comparison("1", Comparison.model_validate({"units": units}))
    assert GRADER.equivalent(query, a, a)
    assert GRADER.equivalent(query, a, b) == GRADER.equivalent(query, b, a)
    if GRADER.equivalent(query, a, b) and GRADER.equivalent(query, b, c):
        assert GRADER.equivalent(query, a, c)


DRESSES = [
    "{}",
    "**{}**",
    "`{}`",
    "The answer is **{}**.",
    "**Answer:** {} apples\n\nI hope that this helps!",
    '{{"reasoning": "First 3, then 4.", "answer": {}}}',
    '```json\n{{"reasoning": "First 3, then 4.", "answer": "{}"}}\n```\nIn total 99 of them.',
    "<think>Is it 7?</think>\n<answer>{}</answer>",
    "[THINK]The answer is 7.[/THINK]So the answer is \\boxed{{{}}}, as 2 + 2 = 4.",
    "analysisPerhaps 7.assistantfinalFinal answer: {}",
    "## Answer\n\n{}",
    "3 + 4 = 7\nAns: {}",
]


@given(numbers, st.sampled_from(DRESSES))
def test_a_number_is_the_same_in_every_dress(value: Fraction, dress: str) -> None:
    assert read(dress.format(canonical(value))) == canonical(value)


@given(st.text(max_size=200))
def test_any_text_reads_as_a_number_or_as_nothing(text: str) -> None:
    value = read(text)
    assert value is None or Fraction(value) == Fraction(value)
