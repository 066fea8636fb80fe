import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.cards import RIGHT, WRONG
from orchestrator.domain.queries import Query
from skills.grading.grader import AnswerGrader
from skills.grading.text import normalised_text
from tests.fakes.grading import make_query, make_response

GRADER = AnswerGrader()
QUERY = make_query("text", "New York")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (" “New  York”. ", "new york"),
        ("Answer: New York", "new york"),
        ("**Answer:** New York", "new york"),
        ("final answer: New York\nIt is large.", "new york"),
        ("The answer is New York.", "new york"),
        ("ＮＥＷ York", "new york"),  # full-width letters
        ("It is\nlarge.", "it is large"),
        ("So the answer is New York.", "new york"),
        ("The answer is **New York**, because it is large.", "new york"),
        ("The answer is New York. It is large.", "new york"),
        ("The answer is St. Louis.", "st. louis"),
        ("The answer is yes, it does.", "yes"),
        ("The answer is 2**10", "2**10"),
        ("Answer: __init__", "__init__"),
        ("The answer is, therefore, New York!", "new york"),
        ("- New York", "new york"),
        ('{"answer": ["New York"]}', "new york"),
        ("Answer: $5", "$5"),
        ("Thus $\\boxed{\\text{New York}}$.", "new york"),
        ("```\nNew York\n```", "new york"),
        ("Here it is:\n~~~text\nNew\nYork\n~~~", "new york"),
        ("Answer:\n```\nNew\nYork\n```\nIt is large.", "new york"),
        ('{"reasoning": "It is large.", "answer": "New York"}', "new york"),
        ("<answer>\nNew York\n</answer>", "new york"),
        ("**New York**", "new york"),
        ("`New York`", "new york"),
        ("Die Antwort lautet: New York.", "new york"),
        ("La respuesta es New York.", "new york"),
        ("答えは東京です。", "東京"),
        ("答案：东京。", "东京"),
    ],
)
def test_reads_the_normalised_text(text: str, value: str) -> None:
    assert GRADER.read(QUERY, make_response(text)) == value


def test_truncated_text_counts_only_a_completed_answer_line() -> None:
    assert GRADER.read(QUERY, make_response("New York", truncated=True)) is None
    assert GRADER.read(QUERY, make_response("Answer: New Yo", truncated=True)) is None
    assert GRADER.read(QUERY, make_response("Answer: New York\nIt is", truncated=True)) == "new york"


def test_a_long_text_without_a_statement_is_an_abstention() -> None:
    essay = "It is a large city on the coast. " * 20
    assert GRADER.reading(QUERY, make_response(essay)).reason == "a long text without a stated answer"
    assert GRADER.read(QUERY, make_response(f"{essay}\nSo the answer is New York.")) == "new york"
    assert GRADER.read(QUERY, make_response(f"{essay}\n```\nNew York\n```")) is None


@pytest.mark.parametrize(("case", "outcomes"), [("fold", [RIGHT, RIGHT]), ("keep", [RIGHT, WRONG])])
def test_case_counts_where_the_question_says_so(case: str, outcomes: list[int]) -> None:
    query = Query(id="q", question="?", answer="US", answer_type="text", comparison={"case": case})
    texts = ("The answer is US.", "The answer is us.")
    assert [GRADER.grade(query, make_response(t)).outcome for t in texts] == outcomes


def test_punctuation_alone_is_an_abstention() -> None:
    assert GRADER.read(QUERY, make_response('"."')) is None


def test_grades_exactly_after_normalising() -> None:
    texts = ("new york", "NEW YORK.", "York")
    assert [GRADER.grade(QUERY, make_response(t)).outcome for t in texts] == [RIGHT, RIGHT, WRONG]


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised_text(normalised_text(text)) == normalised_text(text)


VALUES = st.sampled_from(
    ["Paris", "New York", "St. Louis", "C++", "2**10", "snake_case", "a b c", "Zürich", "東京"]
)
DRESSES = (
    "{}",
    "**{}**",
    "The answer is {}.",
    "The answer is **{}**.",
    "Hence, the final answer is: {}",
    "### Answer\n\n{}\n",
    "Antwort: {}",
    "答案是{}。",
    "```\n{}\n```",
    '{{"reasoning": "Long.", "answer": "{}"}}',
    "<answer>{}</answer>",
    "<think>London?</think>\nThe answer is {}",
    "The answer is London. No: the answer is {}",
)


@pytest.mark.parametrize("dress", DRESSES)
@given(value=VALUES)
def test_a_text_is_the_same_in_every_dress(dress: str, value: str) -> None:
    assert GRADER.read(QUERY, make_response(dress.format(value))) == normalised_text(value)
