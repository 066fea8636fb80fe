import pytest

from orchestrator.domain.cards import ABSTAINED, RIGHT, WRONG
from orchestrator.errors import SkillError
from skills.grading.grader import AnswerGrader
from tests.fakes.grading import make_query, make_response

GRADER = AnswerGrader()
QUERY = make_query("code", "assert add(1, 2) == 3")
PROGRAM = "def add(a, b):\n    return a + b"


@pytest.mark.parametrize(
    "text",
    [
        "def add(a, b): return a+b",
        "```python\ndef add(a,b):  # sum\n  return a + b\n```",
        "Sure:\n```py\nold = 1\n```\nBetter:\n```\ndef add(a, b):\n    return (a + b)\n```\nDone.",
    ],
)
def test_reads_the_last_program_without_layout(text: str) -> None:
    assert GRADER.read(QUERY, make_response(text)) == PROGRAM


@pytest.mark.parametrize(
    "text",
    [
        "Sure",
        "Use the plus operator.",
        "```python\ndef add(a, b):",
        "```python\nreturn = 1\n```",
        "(" * 5000,
        "x = 1\n" * 30_000,
    ],
)
def test_what_holds_no_program_is_an_abstention(text: str) -> None:
    assert GRADER.read(QUERY, make_response(text)) is None


def test_a_cut_program_counts_only_when_its_block_was_closed() -> None:
    assert GRADER.read(QUERY, make_response("def add(a, b): return a", truncated=True)) is None
    closed = "```python\ndef add(a, b): return a + b\n```\nThis fun"
    assert GRADER.read(QUERY, make_response(closed, truncated=True)) == PROGRAM


def test_grades_by_running_the_unit_tests() -> None:
    texts = (PROGRAM, "def add(a, b): return a - b", "no program")
    outcomes = [GRADER.grade(QUERY, make_response(text)).outcome for text in texts]
    assert outcomes == [RIGHT, WRONG, ABSTAINED]


def test_a_wrong_program_carries_the_failure() -> None:
    graded = GRADER.grade(QUERY, make_response("def add(a, b): return a.b"))
    assert graded.reason == "tests failed: AttributeError: 'int' object has no attribute 'b'"


def test_a_reference_without_tests_is_refused() -> None:
    with pytest.raises(SkillError, match="unit tests"):
        GRADER.grade(make_query("code", " "), make_response(PROGRAM))
