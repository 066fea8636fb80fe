"""Thoughts that are left in a text, and how much of an unfinished one is certain to be said."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregators.outputs.votes import SettledWords, without_reasoning
from orchestrator.domain.thoughts import CLOSING, OPENING, begun_mark, without_thoughts

PARTS = st.lists(
    st.sampled_from([*OPENING, *CLOSING, "a", " b ", "\n", "<", "[", "</th", "[THI", "◁"]), max_size=12
)


@pytest.mark.parametrize(("opening", "closing"), list(zip(OPENING, CLOSING, strict=True)))
def test_a_thought_is_cut_out_and_one_without_an_end_runs_to_the_end(opening: str, closing: str) -> None:
    assert without_thoughts(f"a{opening}x\ny{closing}b") == "ab"
    assert without_thoughts(f"a{opening}x") == "a"
    assert begun_mark(f"a{opening[:-1]}", closing=False) == opening[:-1]
    assert begun_mark(f"a{closing[:-1]}", closing=True) == closing[:-1]


def test_an_insertion_in_brackets_is_no_thought() -> None:
    assert without_thoughts("I [think] so") == "I [think] so"


@given(parts=PARTS, cuts=st.lists(st.integers(0, 80), max_size=4))
def test_what_is_told_of_an_unfinished_text_is_how_the_text_begins(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    settled = SettledWords()
    told = "".join(settled(text[a:b]) for a, b in pairwise(places))
    assert without_reasoning(text).startswith(told)
