"""Thinking is no answer, however a model marks it."""

import pytest

from orchestrator.domain.queries import AnswerType
from skills.grading.grader import AnswerGrader
from skills.grading.thinking import without_thinking
from tests.fakes.grading import make_query, make_response


@pytest.mark.parametrize(
    "text",
    [
        "<think>A?</think>B",
        "<THINKING>A?</THINKING>\n\nB",
        "A? so B</think>B",
        "<think>A?<think>no</think>hm</think>B",
        "<think>A?</think><think>A!</think>B",
        "<thought>A?</thought>B",
        "<reasoning>A?</reasoning>\nB",
        "[THINK]A?[/THINK]B",
        "◁think▷A?◁/think▷B",
        "<seed:think>A?</seed:think>B",
        "<|begin_of_thought|>A?<|end_of_thought|><|begin_of_solution|>B<|end_of_solution|>",
        "<|START_THINKING|>A?<|END_THINKING|><|START_RESPONSE|>B<|END_RESPONSE|>",
        "<think>A?</think><response>B</response>",
        "<|channel>thought\nA?<channel|>B",
        "<|channel|>analysis<|message|>A?<|end|><|start|>assistant<|channel|>final<|message|>B<|return|>",
        "analysisPerhaps A?assistantfinalB",
        "Perhaps A? Hm.assistantfinalB",
        "Here is my thought process:\nA?\n\nHere is my response:\nB",
        "A?\n[BEGIN FINAL RESPONSE]B[END FINAL RESPONSE]",
        "Thinking...\nA?\n...done thinking.\n\nB",
        "B <think>is it A?</think>",
    ],
)
def test_the_final_part_is_what_follows_the_thinking(text: str) -> None:
    assert without_thinking(text) == "B"


@pytest.mark.parametrize(
    "text",
    [
        "<think>A",
        "<think>A</think>B<think>C",
        "<thought>A",
        "[THINK]A",
        "analysisPerhaps A",
        "<|channel|>analysis<|message|>A",
        "Here is my thought process:\nA",
    ],
)
def test_thinking_that_never_ends_has_no_final_part(text: str) -> None:
    assert without_thinking(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "analysis of the text: B",
        "The assistant finally says B",
        "a<b and b>c",
        "Use the <reasoning> tag for it: B",
        "B, I [think] so",
    ],
)
def test_words_that_thinking_is_marked_with_are_words_elsewhere(text: str) -> None:
    assert without_thinking(text) == text


def test_an_asked_for_form_of_reasoning_and_answer_keeps_its_answer() -> None:
    assert without_thinking("<reasoning>A?\n<answer>B</answer>") == "<answer>B</answer>"
    assert without_thinking("<answer>B</answer>\n<reasoning>for it fits</reasoning>") == "<answer>B</answer>"


def test_nothing_after_thinking_is_an_empty_answer() -> None:
    assert without_thinking("<think>A</think>") == ""


def test_a_response_that_is_nothing_but_thoughts_says_so() -> None:
    response = make_response("").replaced(reasoning="Is it B? The answer is B.")
    assert AnswerGrader().reading(make_query("choice"), response) == (None, "thinking never ended")


@pytest.mark.parametrize("answer_type", list(AnswerType))
def test_reasoning_that_an_engine_tells_apart_is_never_read(answer_type: AnswerType) -> None:
    response = make_response("").model_copy(update={"reasoning": "The answer is \\boxed{42}"})
    assert AnswerGrader().read(make_query(answer_type), response) is None
