"""Signs of prose; numbers counted by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregators.outputs.prose.signs import Signs, read_signs

ASKED = "How do bees find their way home?"

LETTERED = """## Bees

Bees find their way by the sun. They remember 3 or 4 landmarks.

**Scent**

They smell the hive!"""


def test_signs_of_a_text_are_counted() -> None:
    """Four blocks; of the longer words of the question (bees, find, their, home) it takes up three."""
    signs = read_signs(ASKED, LETTERED)
    assert signs.length == pytest.approx(math.log1p(len(LETTERED)))
    assert signs.n_paragraphs == pytest.approx(math.log1p(4))
    assert (signs.finished, signs.has_headings, signs.declines) == (1.0, 1.0, 0.0)
    assert signs.overlap == pytest.approx(3 / 4)
    assert signs.digits == pytest.approx(2 / len(LETTERED))


def test_an_empty_text_has_no_signs() -> None:
    assert read_signs(ASKED, "") == Signs(0, 0, 0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("end", [".", "!", "?", "”", ")", "```", "。", "|", "*"])
def test_a_text_that_ends_like_a_sentence_a_list_or_code_is_finished(end: str) -> None:
    assert read_signs(ASKED, f"By the sun{end}\n").finished == 1.0


@pytest.mark.parametrize("text", ["By the sun and the", "By the sun,", "1. The sun\n2. The"])
def test_a_text_that_stops_within_a_sentence_is_not_finished(text: str) -> None:
    assert read_signs(ASKED, text).finished == 0.0


@pytest.mark.parametrize(
    "text", ["I'm sorry, but I can't help with that.", "As an AI, I do not fly.", "Well. I cannot say more."]
)
def test_a_refusal_at_the_beginning_is_a_sign(text: str) -> None:
    assert read_signs(ASKED, text).declines == 1.0


@pytest.mark.parametrize("text", ["Bees say sorry to nobody.", "word " * 80 + "I cannot say more."])
def test_other_apologies_are_none(text: str) -> None:
    assert read_signs(ASKED, text).declines == 0.0


@pytest.mark.parametrize("line", ["# Bees", "### The sun", "**The sun**", "**The sun:**", "**The sun**:"])
def test_a_line_that_is_a_heading_is_a_sign(line: str) -> None:
    assert read_signs(ASKED, f"See.\n\n{line}\nBees fly.").has_headings == 1.0


@pytest.mark.parametrize("line", ["#1 is the sun", "The **sun** it is", "**a** and **b**", "****"])
def test_emphasis_and_numbers_are_no_headings(line: str) -> None:
    assert read_signs(ASKED, line).has_headings == 0.0


def test_a_text_that_turns_in_circles_repeats() -> None:
    assert read_signs(ASKED, "the bees fly home and " * 40).repeats > 0.9
    assert read_signs(ASKED, "Each bee knows one way home by heart.").repeats == 0.0


def test_a_question_of_short_words_is_taken_up_by_nobody() -> None:
    assert read_signs("Why is it so?", "It is so.").overlap == 0.0


@given(st.text(max_size=300), st.text(max_size=300))
def test_all_signs_are_finite_and_shares_are_shares(question: str, text: str) -> None:
    signs = read_signs(question, text)
    assert all(math.isfinite(sign) for sign in signs)
    assert all(0 <= share <= 1 for share in (signs.overlap, signs.repeats, signs.finished, signs.declines))
