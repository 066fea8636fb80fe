import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregators.outputs.verifying.signs import (
    MOST_CHARS,
    Consistency,
    Signs,
    candidates,
    chosen,
    cues,
    read_signs,
)
from orchestrator.domain.queries import AnswerType, Query

COLOURS = Query(
    id="c",
    question="Which colour has the sky at noon?",
    options=("dark blue", "dark red", "grey"),
    answer_type=AnswerType.CHOICE,
)
SUMS = Query(
    id="n",
    question="What is 40 + 2?",
    options=("42", "$44.0", "4,200 m"),
    answer_type=AnswerType.CHOICE,
)
OPEN = Query(id="o", question="What is 40 + 2?", answer_type=AnswerType.NUMBER)


def signs(query: Query, value: str, text: str) -> Signs:
    return read_signs(candidates(query, value), chosen(query, value), text)


def consistency(query: Query, value: str, text: str) -> Consistency:
    return signs(query, value, text).consistency


def test_an_answer_that_the_reasoning_names_last_is_consistent() -> None:
    """Both options occur; of their own words (blue; red) the reasoning has all."""
    text = "Not dark red: it is dark blue. The answer is (A)."
    found = consistency(COLOURS, "A", text)
    assert (found.named, found.n_others_named, found.last_named) == (1, 1, 1)
    assert (found.own, found.own_lead) == (1, 0)
    assert consistency(COLOURS, "B", text).last_named == 0


def test_words_that_options_share_do_not_speak_for_one() -> None:
    found = consistency(COLOURS, "A", "It is dark. The answer is (A).")
    assert (found.named, found.own, found.own_lead) == (0, 0, 0)
    assert math.isnan(found.last_named)


def test_only_the_end_of_the_reasoning_counts_as_its_end() -> None:
    """`blue` stands 31 words before the statement, `The` being the last of them."""
    text = f"blue {'so ' * 30}The answer is (A)."
    assert consistency(COLOURS, "A", text).own == 1
    assert consistency(COLOURS, "A", text).own_at_end == 0


def test_another_letter_at_the_end_of_the_reasoning_is_noticed() -> None:
    found = consistency(COLOURS, "A", "Option A is out, (B) and (C) fit. The answer is (A).")
    assert (found.n_other_letters, found.ends_on_other_letter) == (2, 1)


def test_the_last_number_is_compared_with_the_options() -> None:
    """log(1 + 3) numbers; 43.9 is 0.2 % off 44 and 4.3 % off 42; 42 is no other option's number."""
    text = "40 + 2 = 43.9, so the answer is"
    of_b = consistency(SUMS, "B", text)
    assert (of_b.last_number, of_b.last_number_nearest, of_b.last_number_others) == (1, 1, 0)
    assert of_b.n_numbers == pytest.approx(math.log(4))
    of_a = consistency(SUMS, "A", text)
    assert (of_a.last_number, of_a.last_number_nearest, of_a.last_number_others) == (0, 0, 1)
    assert of_a.last_number_distance == pytest.approx(1.9 / 43.9)
    assert (of_a.number_occurs, of_a.n_other_numbers) == (0, 1)


def test_reasoning_without_numbers_has_no_last_one() -> None:
    found = consistency(SUMS, "A", "Obviously. The answer is (A).")
    assert math.isnan(found.last_number)
    assert (found.number_occurs, found.n_numbers) == (0, 0)


def test_an_open_answer_is_compared_with_its_own_reasoning() -> None:
    found = consistency(OPEN, "42", "40 + 2 = 42. The answer is 42.")
    assert (found.last_number, found.n_other_numbers) == (1, 0)
    assert consistency(OPEN, "41", "40 + 2 = 42. The answer is 41.").last_number == 0
    assert math.isnan(found.n_other_letters)
    assert math.isnan(found.own_lead)


def test_form_by_hand() -> None:
    """20 characters, 7 before the statement; one digit; `40` of 40 and 2 (and what) is repeated."""
    form = signs(OPEN, "40", "40 it. Answer: 40 ok").form
    assert form.length == pytest.approx(math.log(21))
    assert form.reasoning_length == pytest.approx(math.log(8))
    assert (form.n_statements, form.finished, form.loop_share) == (1, 0, 0)
    assert form.digit_share == pytest.approx(4 / 20)
    assert form.question_share == pytest.approx(1 / 3)


def test_white_space_around_a_text_does_not_count() -> None:
    assert signs(OPEN, "4", " \n 4. \n") == signs(OPEN, "4", "4.")


def test_of_a_long_text_the_end_is_read_and_all_is_measured() -> None:
    text = "9 " * MOST_CHARS + "so 42. The answer is 42."
    found = signs(OPEN, "42", text)
    assert found.form.length == pytest.approx(math.log(len(text) + 1))
    assert found.consistency.n_numbers < math.log(MOST_CHARS)


@given(st.text(max_size=200), st.sampled_from("ABC"))
def test_every_text_has_all_signs(text: str, value: str) -> None:
    sizes = {tuple(map(len, signs(query, value, text))) for query in (COLOURS, SUMS, OPEN)}
    assert sizes == {(7, 16, 3)}


def test_no_sign_depends_on_the_order_or_the_length_of_the_options() -> None:
    """Options turned round, and one that nobody mentions made longer: nothing that is read changes, but by
    letter, which the text itself names."""
    longer = "grey as the winter sea under heavy clouds"
    turned = COLOURS.model_copy(update={"options": (longer, "dark red", "dark blue")})
    text = "Not red, it is dark blue. The answer is"
    assert signs(COLOURS, "A", text) == signs(turned, "C", text)
    assert cues(COLOURS, "A") != cues(turned, "C")


def test_cues_by_hand() -> None:
    """Option B has 8 characters of 9, 8 and 4, mean 7."""
    assert cues(COLOURS, "B") == (8, 8 / 7, 1, 33, 3)
