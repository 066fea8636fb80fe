"""Reading JSON from strangers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from api.errors import MalformedBodyError
from api.middleware.strict_json import MAX_DEPTH, loads
from orchestrator.errors import InputError
from orchestrator.questions.json_checks import RepeatedKeyError, unique_keys

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=8)
NUMBER = st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_every_proper_document_is_read_as_the_standard_library_reads_it(document: object) -> None:
    raw = json.dumps(document).encode()
    assert loads(raw) == json.loads(raw)


def refusal(raw: bytes) -> str | None:
    try:
        loads(raw)
    except InputError as error:
        return str(error)
    return None


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_by_name(raw: bytes) -> None:
    assert refusal(raw) != ""


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b'{"a": ', "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1} // no', "not JSON"),
        (b'"\xff\xfe"', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"a":' * 100_000, "nested deeper"),
        (b"[" * (MAX_DEPTH + 1) + b"0" + b"]" * (MAX_DEPTH + 1), "nested deeper"),
        (b"1" + b"0" * 5000, "too many digits"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"b": {"\\ud800": 1, "\\ud800": 2}}', "stands twice"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (b'{"\\udfff": 1}', "lone surrogate"),
    ],
)
def test_unreadable_bodies_are_malformed(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedBodyError, match=reason):
        loads(raw)


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"a": {"b": [1e999]}}', "a.b.0"),
        (b'{"a": "x\\u0000y"}', "a"),
        (b'{"a": NaN}', None),
        (b"[-Infinity]", None),
    ],
)
def test_values_no_field_may_have_are_refused_with_their_place(raw: bytes, param: str | None) -> None:
    with pytest.raises(InputError) as caught:
        loads(raw)
    assert not isinstance(caught.value, MalformedBodyError)
    assert caught.value.param == param


def test_byte_order_mark_and_unusual_text_are_kept_as_they_are() -> None:
    text = "‮abc‬ Z̷̛a̸l͜g̴o 😀"
    assert loads(b"\xef\xbb\xbf" + json.dumps({"q": text}).encode()) == {"q": text}


def test_deepest_allowed_nesting_is_read() -> None:
    assert loads(b"[" * MAX_DEPTH + b"0" + b"]" * MAX_DEPTH) is not None


def test_a_repeated_key_among_many_is_found_in_one_pass() -> None:
    """Counted: a key is compared with others only where their hashes meet."""
    compared = 0

    class Key(str):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, str(other))

        __hash__ = str.__hash__

    pairs: list[tuple[str, JsonValue]] = [(Key(f"k{n}"), n) for n in range(2_000)]
    with pytest.raises(RepeatedKeyError, match="k7"):
        unique_keys([*pairs, (Key("k7"), 0)])
    assert compared < 100
