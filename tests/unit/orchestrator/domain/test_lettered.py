"""Options that people paste with their question."""

import pytest

from orchestrator.domain.lettered import MOST_AFTER, Lettered, lettered
from orchestrator.domain.queries import AnswerType, Query

RED_BLUE = Lettered("Which?", ("red", "blue"))


@pytest.mark.parametrize(
    "text",
    [
        "Which?\nA) red\nB) blue",
        "Which?\nA. red\nB. blue",
        "Which?\n(A) red\n(B) blue",
        "Which?\nA: red\nB: blue\n",
        "Which?\n\n  A) red\n\n  B) blue  \n",
        "Which?\r\nA) red\r\nB) blue",
    ],
)
def test_options_are_read_in_any_dress(text: str) -> None:
    assert lettered(text) == RED_BLUE


def test_what_stands_after_the_options_stays_with_the_question() -> None:
    said = lettered("Which?\nA) red\nB) blue\nAnswer with the letter only.")
    assert said == Lettered("Which?\nAnswer with the letter only.", ("red", "blue"))


@pytest.mark.parametrize(
    "text",
    [
        "Which?",
        "",
        "A) red\nB) blue",  # nothing is asked
        "Which?\nA) red",
        "Which?\nB) red\nC) blue",
        "Which?\nA) red\nC) blue",
        "Which?\nA) red\nB) red",
        "Which?\nA) red\nand then\nB) blue",
        "Which?\na) red\nb) blue",
        "Plan A) is good.\nPlan B) is not.",
        "A. Smith wrote a book.\nWhat is it about?",
        "Which?\nA) red\nB) blue\n" + "x" * (MOST_AFTER + 1),
        "Which?\n" + "\n".join(f"{chr(65 + i)}) {i}" for i in range(26)) + "\nA) again",
    ],
)
def test_other_texts_have_none(text: str) -> None:
    assert lettered(text) is None


def test_an_inferred_choice_has_the_options_of_its_text() -> None:
    asked = Query(id="q", question="Which?\nA. red\nB. blue", answer_type=AnswerType.OPEN, infers=True)
    typed = asked.typed(AnswerType.CHOICE)
    assert (typed.question, typed.options, typed.answer_type) == (
        "Which?",
        ("red", "blue"),
        AnswerType.CHOICE,
    )
    assert typed.text == "Which?\nA) red\nB) blue"
    assert asked.typed(AnswerType.NUMBER).question == asked.question
