"""A text is searched for a form only where it has a character without which the form cannot be."""

import re
from collections.abc import Collection

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skills.grading import fences, fields, languages, marks, phrases, statements, text, thinking

BOXED = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{|\\boxed[ \t]{1,2}[A-Za-z0-9]{1,20}|\\boxed\d")
FORMS: dict[str, tuple[re.Pattern[str], Collection[str]]] = {
    "thinking": (thinking._MARK, thinking._SIGNS),
    "channel": (thinking._CHANNEL, ("<|channel|>",)),
    "merged channel": (thinking._MERGED_FINAL, ("assistant",)),
    "backticks": (fences._BACKTICKS, fences.FENCES),
    "tildes": (fences._TILDES, fences.FENCES),
    "command": (text._COMMAND, ("\\",)),
    "layout": (text._LAYOUT, ("\\",)),
    "formula": (text._FORMULA, ("$",)),
    "key of a field": (fields._KEY, fields._QUOTES),
    "tag": (fields._TAG, ("<", "[")),
}
ASCII = st.characters(max_codepoint=127)


@pytest.mark.parametrize("name", FORMS)
@given(data=st.data())
def test_what_has_a_form_has_its_sign(name: str, data: st.DataObject) -> None:
    form, signs = FORMS[name]
    found = data.draw(st.from_regex(form))
    assert any(sign in found for sign in signs)


@given(said=st.from_regex(BOXED, fullmatch=True))
def test_a_box_has_a_backslash(said: str) -> None:
    assert statements._BRACE.match(said) is not None
    assert "\\" in said


@pytest.mark.parametrize("mark", marks._CLOSERS)
def test_a_text_in_a_pair_of_marks_is_without_them(mark: str) -> None:
    assert marks.unmarked(f"{mark}42{mark} km") == ("42 km", "42")


@given(noun=st.from_regex(phrases._NOUN, alphabet=ASCII))
def test_an_ascii_text_that_names_an_answer_has_a_sign_of_it(noun: str) -> None:
    assert languages.has_sign(noun, phrases._SIGNS)


@settings(max_examples=1000)
@given(noun=st.from_regex(languages._NOUN, alphabet=ASCII))
def test_an_ascii_text_that_names_an_answer_in_another_language_has_a_sign_of_it(noun: str) -> None:
    assert languages.has_sign(noun, languages._SIGNS)
