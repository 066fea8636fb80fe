import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.cards import RIGHT, WRONG
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
    ],
)
def test_reads_the_normalised_text(text: str, value: str) -> None:
    assert GRADER.read(QUERY, make_response(text)) == value


def test_truncated_text_counts_only_a_completed_answer_line() -> None:
    assert GRADER.read(QUERY, make_response("New York", truncated=True)) is None
    assert GRADER.read(QUERY, make_response("Answer: New Yo", truncated=True)) is None
    assert GRADER.read(QUERY, make_response("Answer: New York\nIt is", truncated=True)) == "new york"


def test_punctuation_alone_is_an_abstention() -> None:
    assert GRADER.read(QUERY, make_response('"."')) is None


def test_grades_exactly_after_normalising() -> None:
    texts = ("new york", "NEW YORK.", "York")
    assert [GRADER.grade(QUERY, make_response(t)).outcome for t in texts] == [RIGHT, RIGHT, WRONG]


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised_text(normalised_text(text)) == normalised_text(text)
