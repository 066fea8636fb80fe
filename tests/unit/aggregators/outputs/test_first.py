import pytest

from aggregators.outputs import make_aggregator
from orchestrator.domain.answers import Answer, FinishReason
from orchestrator.domain.assignments import Done, Response
from orchestrator.domain.queries import AnswerType, Query
from tests.fakes.ballots import FOUR, OPEN, context, fails, says, state, truncated

FREE = Query(id="q", question="Tell me of Rome.", answer_type=AnswerType.TEXT)


def cut(expert_id: str, text: str) -> Response:
    return says(expert_id, None, text=text).model_copy(update={"finish_reason": FinishReason.LENGTH})


def first(query: Query, *responses: Response) -> Answer:
    recruits = {r.expert_id: 0.7 for r in responses}
    step = make_aggregator("first", context()).step(state(recruits, query=query), responses)
    assert isinstance(step, Done)
    return step.answer


def test_the_best_recruits_answer_is_taken_against_all_others() -> None:
    votes = [says("c", "B"), says("b", "B"), says("a", "A")]
    step = make_aggregator("first", context()).step(state({"a": 0.7, "b": 0.6, "c": 0.6}), votes)
    assert isinstance(step, Done)
    assert (step.answer.value, step.answer.confidence) == ("A", 0.7)
    assert [v.weight for v in step.answer.votes] == [1, 0, 0]


def test_the_next_recruit_steps_in_for_one_that_failed() -> None:
    step = make_aggregator("first", context()).step(state({"a": 0.7, "b": 0.6}), [fails("a"), says("b", "B")])
    assert isinstance(step, Done)
    assert (step.answer.value, step.answer.answered_by, step.answer.degraded) == ("B", "b", True)


def test_free_text_that_was_cut_off_is_shown_and_says_so() -> None:
    answer = first(FREE, cut("a", "Rome was founded in"))
    assert (answer.text, answer.finish_reason) == ("Rome was founded in", FinishReason.LENGTH)
    assert (answer.answered_by, answer.error_code, answer.degraded) == ("a", None, True)


def test_free_text_that_cannot_be_read_has_no_value_no_confidence_and_no_vote() -> None:
    answer = first(FREE, cut("a", "Rome was founded in"))
    assert (answer.value, answer.confidence) == (None, None)
    assert [(vote.value, vote.weight) for vote in answer.votes] == [(None, 0)]


def test_a_readable_response_goes_before_a_better_recruits_cut_off_one() -> None:
    answer = first(FREE, cut("a", "Rome was"), says("b", "rome"))
    assert (answer.answered_by, answer.value, answer.finish_reason) == ("b", "rome", FinishReason.STOP)


@pytest.mark.parametrize("query", [FOUR, OPEN])
def test_a_cut_off_response_to_a_question_with_a_gradeable_answer_is_not_guessed(query: Query) -> None:
    assert first(query, cut("a", "Probably the")).error_code == "no_answer"


@pytest.mark.parametrize("response", [truncated("a"), cut("a", " "), fails("a")])
def test_free_text_without_a_word_is_an_error(response: Response) -> None:
    assert first(FREE, response).error_code == "no_answer"
