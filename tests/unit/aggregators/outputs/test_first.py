from aggregators.outputs import make_aggregator
from orchestrator.domain.assignments import Done
from tests.fakes.ballots import context, fails, says, state


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
