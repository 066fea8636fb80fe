"""Literals as models state them: in prose, marks, fences, asserts, and fields of JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.cards import ABSTAINED, RIGHT, WRONG
from orchestrator.domain.literals import literal
from orchestrator.errors import SkillError
from skills.grading.grader import AnswerGrader
from tests.fakes.grading import make_query, make_response

GRADER = AnswerGrader()
QUERY = make_query("literal", "[1, 2]")

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, min_size=2, max_size=3).map(tuple)
        | st.dictionaries(st.integers() | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
DRESSES = (
    "{}",
    "The answer is {}",
    "The answer is {}.",
    "**Answer:** {}",
    "Final answer:\n\n{}",
    "The answer is:\n```python\n{}\n```\n",
    "```\n{}\n```",
    "Step 1.\n\nassert f([3]) == {}",
    "```python\nassert f(2) == {}\n```",
    "[PYTHON]\nassert f([3]) == {}\n[/PYTHON]",
    "It gives this.\n\n[ANSWER]\nassert f([3]) == {}\n[/ANSWER]",
    "<answer>{}</answer>",
    "f(3) -> {}",
)


def read(text: str, *, truncated: bool = False) -> str | None:
    return GRADER.read(QUERY, make_response(text, truncated=truncated))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1,2]", "[1, 2]"),
        ("The answer is `[1, 2]`.", "[1, 2]"),
        ("So the answer is [1, 2], because f appends 2.", "[1, 2]"),
        ("The answer is 1.", "1"),
        ("The answer is 1.0.", "1.0"),
        ("The answer is 3. Then it stops.", "3"),
        ("The answer is -1e3, a float.", "-1000.0"),
        ("The answer is 'a.b'.", "'a.b'"),
        ("The answer is ' a '", "' a '"),
        ("The answer is `'it''s'`", "'its'"),
        ("The answer is ''", "''"),
        ("The answer is '.'", "'.'"),
        ("Output: {'b': 1, 'a': 2}", "{'a': 2, 'b': 1}"),
        ("The output is `True`.", "True"),
        ("The result will be: [1, 2]", "[1, 2]"),
        ("**[1, 2]**", "[1, 2]"),
        ("The answer is “a b”", "'a b'"),
        (r"\boxed{\texttt{\{1, 2\}}}", "{1, 2}"),
        (">>> f(3)\n[1, 2]", "[1, 2]"),
        ("f(3) returns (1,)", "(1,)"),
        ("Thus f(3) == [1, 2].", "[1, 2]"),
        ('assert f("a==b") == \'a==b\', "why"', "'a==b'"),
        ("\\boxed{[1, 2]}", "[1, 2]"),
        ('{"reasoning": "", "answer": [1, 2]}', "[1, 2]"),
        ('{"answer": "[1,2]"}', "[1, 2]"),
        ('{"answer": "`[1, 2]`"}', "[1, 2]"),
        ('{"answer": "assert f(1) == [1, 2]"}', "[1, 2]"),
        ('{"answer": "Output: [1, 2]"}', "[1, 2]"),
        ('{"answer": "\'a\'"}', "'a'"),
        ('{"answer": "\\"a\\""}', "'a'"),
        ('{"answer": "hello world."}', "'hello world.'"),
        ('{"answer": " hi "}', "' hi '"),
        ('{"answer": " 7 "}', "' 7 '"),
        ('{"answer": ""}', "''"),
        ('{"answer": "."}', "'.'"),
        ('{"answer": "a\\\\nb"}', "'a\\nb'"),
        ('{"answer": "\'a\\nb\'"}', "'a\\nb'"),
        ('{"answer": "C:\\\\dir"}', "'C:\\\\dir'"),
        ("{'answer': (1, 2)}", "(1, 2)"),
        ("{'answer': True}", "True"),
        ('{"answer": true}', "True"),
        ('{"answer": {"a": null}}', "{'a': None}"),
        ('{"answer": "[1, 2]"}\n\nThe list grew by 2, so the total is 3.', "[1, 2]"),
        ("The answer is [3]. No: the answer is [1, 2].", "[1, 2]"),
    ],
)
def test_a_literal_is_read_in_any_dress(text: str, value: str) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "The answer is hello",
        "The answer is a list of two",
        "The answer is 3 apples",
        "The answer is [1, 2",
        "The answer is -2139-1",
        "The answer is [1, 2] + [3]",
        "The answer is len([1])",
        "I think that it loops 3 times and then gives up.",
        "...",
        "The answer is ...",
    ],
)
def test_what_states_no_literal_is_an_abstention(text: str) -> None:
    assert read(text) is None


def test_a_scalar_in_a_string_of_json_may_be_meant_as_a_text() -> None:
    text = '{"answer": "3"}'
    assert read(text) == "3 or '3'"
    for reference, outcome in [("3", RIGHT), ("'3'", RIGHT), ("3.0", WRONG), ("'3 '", WRONG)]:
        assert GRADER.grade(make_query("literal", reference), make_response(text)).outcome is outcome
    assert GRADER.equivalent(QUERY, "3 or '3'", "3")
    assert GRADER.equivalent(QUERY, "'3'", "3 or '3'")
    assert not GRADER.equivalent(QUERY, "'3'", "3")


def test_a_text_with_the_word_or_is_one_value() -> None:
    value = read('{"answer": "3 or \'3\'"}')
    assert value == repr("3 or '3'")
    assert not GRADER.equivalent(QUERY, value, "3")


def test_truncated_text_counts_only_what_was_stated_before_the_cut() -> None:
    assert read("[1, 2]", truncated=True) is None
    assert read("The answer is [1, 2]", truncated=True) is None
    assert read("The answer is [1, 2]\nbecause", truncated=True) == "[1, 2]"
    assert read('{"answer": "[1, 2]", "why": "it', truncated=True) == "[1, 2]"


def test_grades_by_value_and_type() -> None:
    texts = ("The answer is [1,2]", "The answer is (1, 2)", "The answer is [1.0, 2]", "nothing")
    outcomes = [GRADER.grade(QUERY, make_response(text)).outcome for text in texts]
    assert outcomes == [RIGHT, WRONG, WRONG, ABSTAINED]


def test_a_reference_that_is_no_literal_is_refused() -> None:
    with pytest.raises(SkillError, match="no Python literal"):
        GRADER.grade(make_query("literal", "hello"), make_response("The answer is 1"))


@pytest.mark.parametrize("dress", DRESSES)
@given(value=VALUES)
def test_a_value_is_the_same_in_every_dress(dress: str, value: object) -> None:
    assert read(dress.format(repr(value))) == literal(repr(value))


@given(
    value=VALUES, indent=st.sampled_from([None, 2]), prose=st.sampled_from(["", "\n\nThe total is 720 kg."])
)
def test_a_field_of_json_may_hold_the_source_of_a_literal(
    value: object, indent: int | None, prose: str
) -> None:
    text = json.dumps({"reasoning": "It says 'x'.", "answer": repr(value)}, indent=indent) + prose
    found = read(text)
    assert found is not None
    assert GRADER.equivalent(QUERY, found, literal(repr(value)) or "")


@given(st.lists(VALUES, min_size=3, max_size=3))
def test_equality_is_an_equivalence(values: list[object]) -> None:
    a, b, c = (literal(repr(value)) or "" for value in values)
    same = GRADER.equivalent
    assert same(QUERY, a, a)
    assert same(QUERY, a, b) == same(QUERY, b, a)
    assert not (same(QUERY, a, b) and same(QUERY, b, c)) or same(QUERY, a, c)


@given(st.text(max_size=200), st.booleans())
def test_any_text_reads_as_a_literal_or_as_nothing(text: str, truncated: bool) -> None:
    value = read(text, truncated=truncated)
    assert value is None or any(literal(one) == one for one in (value, value.partition(" or ")[0]))
