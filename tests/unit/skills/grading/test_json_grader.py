import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.cards import RIGHT, WRONG
from orchestrator.errors import SkillError
from skills.grading.grader import AnswerGrader
from tests.fakes.grading import make_query, make_response

GRADER = AnswerGrader()
QUERY = make_query("json", '{"a": 1, "b": [2]}')

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


def read(text: str, *, truncated: bool = False) -> str | None:
    return GRADER.read(QUERY, make_response(text, truncated=truncated))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"b": [2.0], "a": 1}', '{"a":1,"b":[2]}'),
        ('```json\n{"a": 1}\n```', '{"a":1}'),
        ('Here: {"a": 1e0} and {"a": 2}', '{"a":1}'),
        ('[citation needed] {"a": 1}', '{"a":1}'),
        ("```\n42\n```", "42"),
        ("42", "42"),
        ("true", "true"),
        ("null", "null"),
        ("See [1]. The answer is [2, 3].", "[2,3]"),
        ("The answer is 42.", "42"),
        ('It is [1].\n\n<answer>{"a": 1}</answer>', '{"a":1}'),
        ('~~~json\r\n{"a": 1}\r\n~~~', '{"a":1}'),
        ('{"reasoning": "the answer is 5", "answer": 6}', '{"answer":6,"reasoning":"the answer is 5"}'),
    ],
)
def test_reads_the_first_value_in_canonical_form(text: str, value: str) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "no value",
        '{"a": 1',
        "NaN",
        "[Infinity]",
        "1e999",
        "9" * 5000,
        "[" * 100_000,
        "[" * 70 + "]" * 70,
        '{"a": [1], oops}',
    ],
)
def test_what_is_no_bounded_json_value_is_an_abstention(text: str) -> None:
    assert read(text) is None


def test_oversized_text_is_an_abstention() -> None:
    assert read('"' + "x" * 300_000 + '"') is None


def test_a_cut_scalar_may_be_half_a_scalar() -> None:
    assert read("42", truncated=True) is None
    assert read('{"a": 1} and', truncated=True) == '{"a":1}'


def test_true_is_not_one() -> None:
    assert read("[true]") != read("[1]")


def test_grades_by_structure() -> None:
    texts = ('{"b": [2], "a": 1.0}', '{"a": 1, "b": [2, 2]}')
    assert [GRADER.grade(QUERY, make_response(t)).outcome for t in texts] == [RIGHT, WRONG]


def test_a_reference_that_is_no_json_is_refused() -> None:
    with pytest.raises(SkillError, match="not JSON"):
        GRADER.grade(make_query("json", "{"), make_response("1"))


@given(values, st.sampled_from([None, 2]), st.booleans())
def test_layout_and_key_order_do_not_matter(value: object, indent: int | None, fenced: bool) -> None:
    text = json.dumps(value, indent=indent)
    assert read(f"```json\n{text}\n```" if fenced else text) == read(json.dumps(value, sort_keys=True))
