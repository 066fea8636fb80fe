from collections import Counter

from aggregators.outputs import make_aggregator
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Done, Response
from orchestrator.domain.queries import Query
from tests.fakes.ballots import FOUR, context, fails, says, state


def decide(accuracies: dict[str, float], *responses: Response) -> Answer:
    step = make_aggregator("majority", context()).step(state(accuracies), responses)
    assert isinstance(step, Done)
    return step.answer


def test_two_weak_votes_beat_one_strong_one() -> None:
    answer = decide({"a": 0.9, "b": 0.2, "c": 0.2}, says("a", "A"), says("b", "B"), says("c", "B"))
    assert answer.value == "B"
    assert answer.answered_by == "b"
    assert answer.confidence is None


def test_a_tie_goes_to_the_larger_summed_weight_of_the_router() -> None:
    """A: .4 + .05 = .45, B: .3 + .25 = .55."""
    weights = {"a": 0.4, "b": 0.3, "c": 0.25, "d": 0.05}
    votes = (says("a", "A"), says("b", "B"), says("c", "B"), says("d", "A"))
    step = make_aggregator("majority", context()).step(
        state(dict.fromkeys(weights, 0.5), weights=weights), votes
    )
    assert isinstance(step, Done)
    assert step.answer.value == "B"


def test_under_equal_weights_skill_estimates_do_not_break_a_tie() -> None:
    votes = (says("a", "A"), says("b", "B"))
    assert decide({"a": 0.1, "b": 0.9}, *votes).value == "A"


def test_a_tie_of_equals_goes_to_the_better_recruit() -> None:
    assert decide({"b": 0.5, "a": 0.5}, says("a", "A"), says("b", "B")).value == "B"


def test_each_response_of_an_expert_recruited_twice_counts() -> None:
    votes = (says("a", "A"), says("b", "B"), says("b", "B", sample_ix=1))
    assert decide({"a": 0.9, "b": 0.3}, *votes).value == "B"


def test_the_answer_is_in_the_words_of_the_best_recruit_who_gave_it() -> None:
    long = says("b", "B", text="Because it is green. answer: B")
    assert decide({"b": 0.6, "c": 0.5}, says("c", "B"), long).text == "Because it is green. answer: B"


def test_a_failure_is_no_vote_for_anything() -> None:
    answer = decide({"a": 0.5, "b": 0.5, "c": 0.5}, fails("a"), fails("b"), says("c", "C"))
    assert answer.value == "C"
    assert [v.abstained_because for v in answer.votes] == ["timeout: no reply in 60 s"] * 2 + [None]


def test_ties_can_be_broken_by_chance_of_the_query_alone() -> None:
    """Over 200 queries each of three tied answers wins about a third; a majority always does."""
    vote = make_aggregator("majority", context(), {"ties": "random"})
    tied = (says("a", "A"), says("b", "B"), says("c", "C"))
    clear = (says("a", "A"), says("b", "B"), says("c", "B"))

    def winner(number: int, votes: tuple[Response, ...]) -> str | None:
        query = Query.model_validate({**FOUR.model_dump(), "question": f"Question {number}?"})
        step = vote.step(state({"a": 0.9, "b": 0.5, "c": 0.5}, query=query), votes)
        assert isinstance(step, Done)
        return step.answer.value

    counts = Counter(winner(number, tied) for number in range(200))
    assert set(counts) == {"A", "B", "C"}
    assert min(counts.values()) > 40
    assert winner(1, tied) == winner(1, tuple(reversed(tied)))
    assert {winner(number, clear) for number in range(20)} == {"B"}
