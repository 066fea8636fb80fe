import pytest

from aggregators.outputs.votes import (
    ESSAY,
    group_equivalent,
    no_answer,
    read_ballots,
    without_reasoning,
    words,
)
from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import Response
from orchestrator.domain.queries import AnswerType, Query
from tests.fakes.ballots import OPEN, fails, says, state, truncated
from tests.fakes.grader import FakeGrader

GRADER = FakeGrader()
ACCURACIES = {"a": 0.8, "b": 0.6}


def test_equivalent_values_form_one_group_led_by_the_better_recruit() -> None:
    ballots = read_ballots(
        GRADER, state(ACCURACIES, query=OPEN), [says("b", "0.50"), says("a", "0.5"), says("c", "7")]
    )
    groups = group_equivalent(GRADER, OPEN, ballots)
    assert [[b.expert_id for b in group.ballots] for group in groups] == [["a", "b"], ["c"]]
    assert groups[0].value == "0.5"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (fails("a"), "timeout: no reply in 60 s"),
        (fails("a", "refused", ""), "refused"),
        (truncated("a"), "truncated before an answer"),
        (says("a", None), "no readable answer"),
        (says("a", None, text=" \n"), "empty response"),
    ],
)
def test_an_abstention_says_why(response: object, reason: str) -> None:
    (ballot,) = read_ballots(GRADER, state(ACCURACIES), [response])  # type: ignore[list-item]
    assert (ballot.value, ballot.reason) == (None, reason)


class CountingGrader(FakeGrader):
    """Counts the responses that it reads."""

    n_read = 0

    def read(self, query: Query, response: Response) -> str | None:
        self.n_read += 1
        return super().read(query, response)


def test_responses_that_say_the_same_are_read_once_and_each_counts() -> None:
    grader = CountingGrader()
    responses = [says("a", "A"), says("b", "A"), says("c", "B"), says("d", "A")]
    ballots = read_ballots(grader, state(ACCURACIES), responses)
    assert (grader.n_read, sorted(b.value or "" for b in ballots)) == (2, ["A", "A", "A", "B"])


def test_the_same_words_cut_off_are_read_for_themselves() -> None:
    grader = CountingGrader()
    whole, cut = says("a", "A"), says("b", "A").model_copy(update={"finish_reason": FinishReason.LENGTH})
    read_ballots(grader, state(ACCURACIES), [whole, cut])
    assert grader.n_read == 2


def test_an_essay_in_place_of_a_short_text_is_told_as_one() -> None:
    essay = says("a", None, text="On the one hand. " * 30)
    asked = Query(id="q", question="Discuss.", answer_type=AnswerType.TEXT)
    [as_text] = read_ballots(GRADER, state(ACCURACIES, query=asked), [essay])
    [as_number] = read_ballots(GRADER, state(ACCURACIES, query=OPEN), [essay])
    assert (as_text.reason, as_number.reason) == (ESSAY, "no readable answer")


def test_accuracy_comes_from_the_decision_and_is_even_for_outsiders() -> None:
    ballots = read_ballots(GRADER, state(ACCURACIES), [says("z", "A"), says("b", "A")])
    assert [(b.expert_id, b.accuracy) for b in ballots] == [("b", 0.6), ("z", 0.5)]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>hm</think> 42", "42"),
        ("<THINK>hm\nhm</THINK>\n42", "42"),
        ("so <think>never closed", "so"),
        ("[THINK]hm[/THINK]42", "42"),
        ("<seed:think>hm</seed:think>42", "42"),
        ("◁think▷hm◁/think▷42", "42"),
        ("<thinking>hm</thinking>42", "42"),
        ("I [think] so", "I [think] so"),
        ("plain", "plain"),
    ],
)
def test_reasoning_blocks_are_not_shown(text: str, left: str) -> None:
    assert without_reasoning(text) == left


def test_where_only_reasoning_is_left_the_bare_answer_is_shown() -> None:
    (ballot,) = read_ballots(GRADER, state(ACCURACIES), [says("a", "B", text="<think>hm answer: B")])
    assert words(ballot) == "B"


def no_answer_to(*responses: Response) -> tuple[str | None, str | None]:
    at = state(ACCURACIES)
    answer = no_answer("any", at, responses, read_ballots(GRADER, at, responses))
    return answer.error_code, answer.error


def test_a_question_too_long_for_everybody_is_the_callers_error() -> None:
    long = [fails(expert_id, "context_exceeded", "9 tokens of 8.") for expert_id in ("a", "b")]
    told = "too long for everybody who was asked (a, b): 9 tokens of 8."
    assert no_answer_to(*long) == ("context_exceeded", told)
    assert no_answer_to(long[0], says("b", None))[0] == "no_answer"


@pytest.mark.parametrize("other", ["expert_unavailable", "engine_load_failed"])
def test_that_nobody_could_be_asked_is_an_outage(other: str) -> None:
    away = fails("a", "expert_unavailable", "connection refused.")
    assert no_answer_to(away, fails("b", other, "no memory."))[0] == "expert_unavailable"


@pytest.mark.parametrize("own", ["context_exceeded", "poison", "invalid_request"])
def test_what_no_wait_heals_is_no_outage_because_somebody_else_is_away(own: str) -> None:
    away = fails("a", "expert_unavailable", "connection refused.")
    assert no_answer_to(away, fails("b", own, "no."))[0] == "no_answer"
    assert no_answer_to(away, says("b", None))[0] == "no_answer"
    assert no_answer_to()[0] == "no_answer"


def test_answers_cut_short_by_everybody_name_the_remedy() -> None:
    code, error = no_answer_to(truncated("a"), truncated("b"))
    assert code == "no_answer"
    assert error is not None
    assert error.endswith("Allow more max_tokens.")
