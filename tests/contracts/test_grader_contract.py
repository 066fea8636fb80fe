"""What holds for the grader of every answer type."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.cards import ABSTAINED, GRADED, RIGHT
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.errors import SkillError
from skills.grading.grader import GRADERS, AnswerGrader
from tests.fakes.grading import make_query, make_response

GRADER = AnswerGrader()

RIGHT_TEXTS: dict[AnswerType, tuple[str | int, str]] = {
    AnswerType.CHOICE: (1, "The answer is (B)."),
    AnswerType.NUMBER: ("42", "The answer is 42."),
    AnswerType.LATEX: ("\\frac{1}{2}", "\\boxed{\\frac{1}{2}}"),
    AnswerType.TEXT: ("Rome", "Rome"),
    AnswerType.JSON: ('{"a": 1}', '```json\n{"a": 1}\n```'),
    AnswerType.CODE: ("assert x == 1", "```python\nx = 1\n```"),
    AnswerType.LITERAL: ("[1, 'a']", "The answer is [1,'a']."),
    AnswerType.OPEN: ("A text to grade against.", "The sky is blue, for blue light is scattered most."),
}

every_type = pytest.mark.parametrize("answer_type", list(AnswerType))
exact_type = pytest.mark.parametrize("answer_type", [kind for kind in AnswerType if not kind.is_graded])


def query_of(answer_type: AnswerType) -> Query:
    return make_query(answer_type, RIGHT_TEXTS[answer_type][0])


def test_every_answer_type_has_a_grader() -> None:
    assert set(GRADERS) == set(AnswerType)


@exact_type
def test_a_right_response_is_right(answer_type: AnswerType) -> None:
    response = make_response(RIGHT_TEXTS[answer_type][1])
    assert GRADER.grade(query_of(answer_type), response).outcome == RIGHT


@every_type
@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (make_response("", error_code="generation_timeout"), "failed: generation_timeout"),
        (make_response(""), "empty"),
        (make_response(" \n "), "empty"),
        (make_response("<think>The answer is 42."), "thinking never ended"),
    ],
)
def test_an_unusable_response_is_an_abstention_with_a_reason(
    answer_type: AnswerType, response: object, reason: str
) -> None:
    assert GRADER.grade(query_of(answer_type), response) == (ABSTAINED, None, reason)  # type: ignore[arg-type]


@exact_type
def test_a_refusal_of_an_exact_question_is_an_abstention(answer_type: AnswerType) -> None:
    response = make_response("I'm sorry, but I can't help with that.")
    assert GRADER.grade(query_of(answer_type), response) == (ABSTAINED, None, "refused")


@pytest.mark.parametrize("text", ["I'm sorry, but I can't help with that.", "A text that was cut i"])
def test_a_refusal_or_a_cut_text_is_an_answer_to_an_open_question(text: str) -> None:
    query = Query(id="q", question="Why?", answer_type=AnswerType.OPEN)  # it needs no reference
    assert GRADER.grade(query, make_response(text, truncated=True)) == (GRADED, text, None)


@exact_type
def test_a_response_cut_in_its_first_words_is_an_abstention(answer_type: AnswerType) -> None:
    response = make_response("Let us think about this: the", truncated=True)
    assert GRADER.read(query_of(answer_type), response) is None


@every_type
def test_a_stated_value_equals_itself(answer_type: AnswerType) -> None:
    query = query_of(answer_type)
    value = GRADER.read(query, make_response(RIGHT_TEXTS[answer_type][1]))
    assert value is not None
    assert GRADER.equivalent(query, value, value)


@exact_type
def test_grading_without_a_reference_is_refused(answer_type: AnswerType) -> None:
    query = query_of(answer_type)
    unlabelled = Query(id="q", question="?", options=query.options, answer_type=answer_type)
    with pytest.raises(SkillError, match="no reference answer"):
        GRADER.grade(unlabelled, make_response("B"))


@every_type
@settings(deadline=None)
@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=200), truncated=st.booleans())
def test_no_text_breaks_reading(answer_type: AnswerType, text: str, truncated: bool) -> None:
    value = GRADER.read(query_of(answer_type), make_response(text, truncated=truncated))
    assert value is None or value


SNAPSHOT = """\
choice | The answer is (B).                     | B
choice | I would say that the second fits.      | None
number | So the total is $1,200.50.             | 1200.5
number | Either 3 or 4.                         | None
latex  | Hence \\boxed{\\dfrac{\\pi}{4}}.           | \\frac{\\pi}{4}
text   | Answer: "New York."                    | new york
json   | Here: {"b": 2.0, "a": null}            | {"a":null,"b":2}
code   | def f(): return 1                      | def f():\\n    return 1
"""


def test_parsing_snapshot() -> None:
    for line in SNAPSHOT.splitlines():
        kind, text, value = (part.strip() for part in line.split(" | "))
        expected = None if value == "None" else value.replace("\\n", "\n") if kind == "code" else value
        assert GRADER.read(query_of(AnswerType(kind)), make_response(text)) == expected, line


RUNAWAYS = ["<think>", "\\boxed{", "answer is ", "answer:\n", '".', "[{", "1,", "```\n", "\\frac{", "A is "]


@every_type
@pytest.mark.parametrize("piece", RUNAWAYS)
def test_a_model_that_repeats_itself_without_end_is_read_as_nothing(
    answer_type: AnswerType, piece: str
) -> None:
    """Quadratic reading would run into the suite's time limit here."""
    text = piece * (400_000 // len(piece))
    if (answer_type, piece) in {
        (kind, p) for kind in (AnswerType.TEXT, AnswerType.OPEN) for p in RUNAWAYS[1:]
    }:
        text += "<think>"  # any text is an answer of such a type; unended thinking is not
    assert GRADER.read(query_of(answer_type), make_response(text)) is None


def test_a_response_of_more_than_a_million_characters_is_an_abstention() -> None:
    graded = GRADER.grade(query_of(AnswerType.TEXT), make_response("x" * 1_000_001))
    assert graded == (ABSTAINED, None, "longer than 1,000,000 characters")
