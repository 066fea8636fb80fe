"""What every row of the aggregator table promises."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregators.outputs import AGGREGATORS, make_aggregator
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Response
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.errors import ConfigError, UnknownNameError
from skills.grading.grader import AnswerGrader
from tests.fakes.ballots import Talk, context, expert, fails, says, state, truncated

ACCURACIES = {"a": 0.8, "b": 0.6, "c": 0.6, "d": 0.3}

every_aggregator = pytest.mark.parametrize("name", sorted(AGGREGATORS))
ballots = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["A", "a", "B", "C", None])),
    min_size=1,
    max_size=5,
)


POOL = [*(expert(name) for name in "abcd"), expert("scribe", aggregates=True)]


def answer(name: str, responses: Sequence[Response]) -> Answer:
    """The final answer; whoever is asked for more always writes D."""
    aggregator = make_aggregator(name, context(POOL))
    return Talk(aggregator, state(ACCURACIES), responses, lambda _: "answer: D").answer


def numbered(votes: Sequence[tuple[str, str | None]]) -> list[Response]:
    return [says(expert_id, value, sample_ix=i) for i, (expert_id, value) in enumerate(votes)]


@every_aggregator
@settings(max_examples=30)
@given(votes=ballots, shuffle=st.randoms(use_true_random=False))
def test_order_of_responses_does_not_matter(
    name: str, votes: list[tuple[str, str | None]], shuffle: random.Random
) -> None:
    responses = numbered(votes)
    shuffled = list(responses)
    shuffle.shuffle(shuffled)
    assert answer(name, shuffled) == answer(name, responses)


@every_aggregator
@settings(max_examples=30)
@given(experts=st.lists(st.sampled_from("abcd"), min_size=2, max_size=5))
def test_unanimous_in_same_out(name: str, experts: list[str]) -> None:
    given_answer = answer(name, numbered([(expert_id, "C") for expert_id in experts]))
    assert given_answer.value == "C"
    assert not given_answer.degraded


@every_aggregator
@settings(max_examples=30)
@given(votes=ballots.filter(lambda votes: any(value is not None for _, value in votes)))
def test_an_abstention_changes_nothing_but_the_record_of_it(
    name: str, votes: list[tuple[str, str | None]]
) -> None:
    responses = numbered(votes)
    without, with_it = answer(name, responses), answer(name, [*responses, fails("z")])
    record = {"degraded", "notes", "votes", "n_calls", "usage_by_role"}
    assert without.model_dump(exclude=record) == with_it.model_dump(exclude=record)
    assert with_it.degraded


@every_aggregator
def test_the_one_readable_response_is_enough(name: str) -> None:
    given_answer = answer(name, [fails("a"), truncated("b"), says("c", "B")])
    assert given_answer.text
    assert given_answer.error_code is None
    assert given_answer.degraded
    assert given_answer.notes[0] == (
        "1 of 3 responses counted; abstained: a (timeout: no reply in 60 s); b (truncated before an answer)"
    )


@every_aggregator
@pytest.mark.parametrize("responses", [[], [fails("a"), says("b", None)]])
def test_no_readable_response_is_an_error_answer_not_an_exception(
    name: str, responses: list[Response]
) -> None:
    given_answer = answer(name, responses)
    assert (given_answer.text, given_answer.value, given_answer.error_code) == ("", None, "no_answer")
    assert given_answer.error


@every_aggregator
def test_usage_and_calls_are_counted_by_role(name: str) -> None:
    given_answer = answer(name, [says("a", "A"), says("b", "A"), fails("c")])
    assert given_answer.n_calls == 3
    assert given_answer.usage_by_role["expert"].completion_tokens == 4


@every_aggregator
def test_every_response_has_a_vote_that_says_how_it_counted(name: str) -> None:
    given_answer = answer(name, [says("a", "A"), says("b", "A"), fails("c")])
    assert [(v.expert_id, v.value) for v in given_answer.votes] == [("a", "A"), ("b", "A"), ("c", None)]
    assert given_answer.votes[2].weight == 0
    assert given_answer.aggregator == name


@every_aggregator
def test_a_model_that_fails_or_writes_nonsense_never_ends_the_work(name: str) -> None:
    responses = [says("a", "A"), says("b", "B"), says("c", "B")]
    for words in (None, "", "They are all plausible.", "Scores: 99 -1 Better: 7 ASK 99: FINAL"):
        aggregator = make_aggregator(name, context(POOL))
        given_answer = Talk(aggregator, state(ACCURACIES), responses, lambda _, w=words: w).answer
        assert given_answer.value in ("A", "B")
        assert given_answer.error_code is None


@every_aggregator
def test_an_expert_that_has_left_the_pool_is_not_asked_again(name: str) -> None:
    aggregator = make_aggregator(name, context([expert("scribe", aggregates=True)]))
    responses = [says("a", "A"), says("b", "B"), says("c", "B")]
    talk = Talk(aggregator, state(ACCURACIES), responses, lambda _: "answer: B")
    assert {call.expert_id for calls in talk.asked for call in calls} <= {"scribe"}
    assert talk.answer.value in ("A", "B")


@every_aggregator
def test_calls_of_a_step_are_told_apart_by_expert_and_sample(name: str) -> None:
    aggregator = make_aggregator(name, context(POOL))
    responses = [says("a", "A"), says("b", "B"), says("c", "C")]
    talk = Talk(aggregator, state(ACCURACIES), responses, lambda _: "answer: B")
    for calls in talk.asked:
        assert len({(call.expert_id, call.sample_ix) for call in calls}) == len(calls)
    assert talk.answer.n_calls == 3 + sum(map(len, talk.asked))
    by_role = talk.answer.usage_by_role
    for call in (call for calls in talk.asked for call in calls):
        assert by_role[call.role].completion_tokens > 0


@every_aggregator
def test_an_unknown_option_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="has no option 'speed'"):
        make_aggregator(name, context(), {"speed": 1})


def test_an_unknown_aggregator_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'majority'"):
        make_aggregator("majorty", context())


prose_rows = pytest.mark.parametrize(
    "name", sorted(n for n in AGGREGATORS if AGGREGATORS.find(n).reads_prose)
)
LETTER = Query(id="q", question="Write to Ada.", answer_type=AnswerType.OPEN)


def letter(name: str, responses: Sequence[Response], reply: str | None) -> Answer:
    """The answer to an open question; whoever is asked for more replies so, or fails."""
    pool = context(POOL)._replace(grader=AnswerGrader())
    return Talk(
        make_aggregator(name, pool), state(ACCURACIES, query=LETTER), responses, lambda _: reply
    ).answer


@prose_rows
@pytest.mark.parametrize("reply", ["Dear Ada, all is well.", "answer: C", None])
def test_a_row_that_reads_prose_answers_an_open_question_whatever_it_is_told(
    name: str, reply: str | None
) -> None:
    said = [says("a", None, text="Dear Ada."), says("b", None, text="Ada, hello."), fails("c")]
    given_answer = letter(name, said, reply)
    assert given_answer.text
    assert given_answer.error_code is None
    assert not any("vote" in note for note in given_answer.notes)


@prose_rows
def test_without_any_words_a_row_that_reads_prose_has_no_answer(name: str) -> None:
    assert letter(name, [fails("a"), says("b", None, text=" ")], "Dear Ada.").error_code is not None
