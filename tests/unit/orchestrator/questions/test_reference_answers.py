"""Answers, options and ids as data sets store them."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.queries import AnswerType
from orchestrator.errors import InputError
from orchestrator.questions.fields import parse_query
from orchestrator.questions.files import QuestionFileError, read_questions
from orchestrator.questions.references import reference

VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
CITIES = ["Rome", "Paris", "None of these", "3.5"]


def stored(answer_type: str, answer: object, **fields: object) -> str | int | None:
    return parse_query(
        {"id": "q", "question": "?", "answer_type": answer_type, "answer": answer, **fields}
    ).answer


@pytest.mark.parametrize(
    ("answer_type", "answer", "expected"),
    [
        ("json", True, "true"),
        ("json", 3.5, "3.5"),
        ("json", 4, "4"),
        ("json", {"a": 1}, '{"a": 1}'),
        ("json", [1], "[1]"),
        ("json", [], "[]"),
        ("json", '{"a": 1}', '{"a": 1}'),
        ("json", '"é"', '"é"'),
        ("json", "null", "null"),
        ("number", 42, 42),
        ("number", 3.5, "3.5"),
        ("number", -0.25, "-0.25"),
        ("number", "1/3", "1/3"),
        ("latex", 7, 7),
        ("text", 1.5, "1.5"),
        ("text", True, "true"),
        ("open", "as it is", "as it is"),
        ("literal", [1, "a", None], "[1, 'a', None]"),
        ("literal", True, "True"),
        ("literal", {"b": 1, "a": 2.0}, "{'a': 2.0, 'b': 1}"),
        ("literal", "'text'", "'text'"),
        ("literal", "''", "''"),
        ("code", ["assert f(1) == 2", "assert f(2) == 3"], "assert f(1) == 2\nassert f(2) == 3"),
        ("text", None, None),
    ],
)
def test_an_answer_with_one_meaning_is_taken(answer_type: str, answer: object, expected: object) -> None:
    found = stored(answer_type, answer)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("answer", "index"),
    [(1, 1), ("B", 1), ("b", 1), ("(B)", 1), ("B.", 1), ("Paris", 1), (" paris ", 1), (3.5, 3), ("3.5", 3)],
)
def test_a_choice_may_name_its_answer_by_index_letter_or_text(answer: object, index: int) -> None:
    assert stored("choice", answer, options=CITIES) == index


def test_a_truth_value_names_the_option_that_says_it() -> None:
    assert stored("choice", False, options=["True", "False"]) == 1


def test_options_may_be_numbers_or_stand_by_letter() -> None:
    query = parse_query(
        {"id": 7, "question": "?", "answer_type": "choice", "options": [1, 2.5], "answer": "B"}
    )
    assert (query.id, query.options, query.answer) == ("7", ("1", "2.5"), 1)
    assert stored("choice", "Oslo", options={"A": "Rome", "B": "Oslo"}) == 1


@pytest.mark.parametrize(
    ("answer_type", "answer", "says"),
    [
        ("json", "Paris", "holds no JSON"),
        ("json", '{"a": 1', "holds no JSON"),
        ("number", True, "is true"),
        ("number", [1], "is a list"),
        ("number", {"a": 1}, "is an object"),
        ("latex", False, "is false"),
        ("text", [1], "is a list"),
        ("literal", "hello", "no Python literal"),
        ("code", [], "unit tests"),
        ("code", 3, "unit tests"),
        ("code", ["assert 1", 2], "unit tests"),
    ],
)
def test_an_answer_with_no_meaning_or_several_is_refused_with_a_remedy(
    answer_type: str, answer: object, says: str
) -> None:
    with pytest.raises(InputError, match=says) as refused:
        stored(answer_type, answer)
    assert refused.value.param == "answer"
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("options", "answer", "says"),
    [
        (["x", "y"], "1", "names no option"),
        (["x", "y"], "yes", "names no option"),
        (["x", "y"], "C", "names no option"),
        (["x", "y"], ["A"], "names no option"),
        (["B", "A"], "A", "names several"),
        (["pH", "PH"], "ph", "names several"),
        (["x", "y"], 2, "0..1"),
    ],
)
def test_a_choice_without_one_meaning_is_refused(options: list[str], answer: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        stored("choice", answer, options=options)


def test_the_exact_text_of_an_option_goes_before_one_that_is_alike() -> None:
    assert stored("choice", "PH", options=["pH", "PH"]) == 1


def test_a_file_tells_the_line_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    lines = [
        {"question": "?", "answer_type": "json", "answer": {"a": [1]}},
        {"question": "?", "answer_type": "number", "answer": [1]},
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    with pytest.raises(QuestionFileError, match=r"line 2: answer: is a list\. That of a number question"):
        read_questions(path)


@pytest.mark.parametrize("answer_type", AnswerType)
@given(answer=VALUES)
def test_every_json_value_is_taken_or_refused_by_every_type(answer_type: AnswerType, answer: object) -> None:
    with contextlib.suppress(InputError):
        assert isinstance(reference(answer_type, answer, options=CITIES), str | int)
