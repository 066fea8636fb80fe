"""Literals: equal by value and by type, whatever they are written like."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.literals import literal

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.binary(max_size=4)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(SCALARS, inner, max_size=3)
        | st.sets(SCALARS, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[1,2]", " [1, 2] "),
        ("[1,\n 2,]", "[1, 2]"),
        ("'a'", '"a"'),
        ("'it''s'", '"its"'),
        (r'"\u00e9"', "'é'"),
        (r'"\ud83d\ude00"', "'😀'"),
        ("{2, 1}", "{1, 2}"),
        ("{'b': 1, 'a': 2}", '{"a":2,"b":1}'),
        ("(1)", "1"),
        ("1, 2", "(1, 2)"),
        ("1_000", "1000"),
        ("0x10", "16"),
        ("1e3", "1000.0"),
        ("-0.0", "0.0"),
        ("true", "True"),
        ('[null, {"a": false}]', "[None, {'a': False}]"),
        ("nan", "float('nan')"),
        ("[inf, -inf]", "[float('inf'), float('-inf')]"),
        ("{1: 'a', True: 'b'}", "{1: 'b'}"),
        ("frozenset([1])", "frozenset({1})"),
        ("''", '""'),
        ("'a' if False else 'b'", "b"),  # neither is a literal
    ],
)
def test_one_value_has_one_text(one: str, other: str) -> None:
    assert literal(one) == literal(other)


@pytest.mark.parametrize(
    "sources",
    [
        ("1", "1.0", "True", "'1'", "b'1'", "1+0j"),
        ("[]", "()", "set()", "{}", "''", "None", "frozenset()"),
        ("[1]", "(1,)", "{1}", "[1.0]", "[True]", "['1']"),
        ("'a'", "'A'", "' a'", "'a '", "'a.'", "\"'a'\"", "'a\\n'"),
        ("'.'", "''", "' '", "'None'", "None"),
        ("{'a': 1}", "{'a': True}", "{'a': 1, 'b': 2}"),
    ],
)
def test_values_that_differ_in_anything_have_texts_of_their_own(sources: tuple[str, ...]) -> None:
    texts = {literal(source) for source in sources}
    assert None not in texts
    assert len(texts) == len(sources)


NO_LITERALS = [
    *("", "x", "...", "[1, ...]", "f'x'", "1 + 2", "-True", "-'a'", "len([])", "007", "{[1]: 2}", "{**{}}"),
    *("'a", "set(1, 2)", "float('1')", "[1", "a.b", "lambda: 1", "1 + 2j + 3j", "9" * 5000, "[" * 10_000),
    *("-" * 9_000 + "1", "'" + "x" * 30_000 + "'", "not " * 4_000 + "1"),
]


@pytest.mark.parametrize("source", NO_LITERALS)
def test_what_is_no_literal_has_none(source: str) -> None:
    assert literal(source) is None


@given(VALUES)
def test_the_text_of_a_value_is_a_literal_of_that_value(value: object) -> None:
    text = literal(repr(value))
    assert text is not None
    assert ast.literal_eval(text) == value
    assert literal(text) == text


@given(VALUES, VALUES)
def test_values_with_one_text_are_equal(a: object, b: object) -> None:
    if literal(repr(a)) == literal(repr(b)):
        assert (a, type(a)) == (b, type(b))
