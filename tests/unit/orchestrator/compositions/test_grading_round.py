"""The round of a judge: one call for a response, two for a pair, and the answer closes the query."""

import pytest

from orchestrator.compositions.grading import GRADING, REGRADING, TOP_LOGPROBS, GradingRound, grading_calls
from orchestrator.domain.assignments import Ask, Call, CallRole, Done, Job, QueryState
from orchestrator.domain.experts import Expert, ExpertRole, Pool
from orchestrator.domain.queries import AnswerType, Query
from tests.fakes.profiling import make_expert

JUDGE = make_expert("judge", ExpertRole.JUDGE)
QUERY = Query(id="q", question="Write to Ada.", answer_type=AnswerType.OPEN, candidates=("Dear Ada",))


def calls(query: Query, name: str = GRADING, judge: Expert = JUDGE, seed: int = 0) -> tuple[Call, ...]:
    job = Job(id="j", composition=name, experts=(judge.id,), seed=seed)
    (step,) = GradingRound(name, pool=Pool(experts=[judge]), job=job).step(
        [QueryState(id=1, job_id="j", query=query)]
    )
    assert isinstance(step, Ask)
    return step.calls


def test_a_response_is_one_call_of_the_role_judge() -> None:
    (call,) = calls(QUERY)
    assert (call.expert_id, call.role, call.sample_ix) == ("judge", CallRole.JUDGE, 0)
    assert "Dear Ada" in call.messages[-1].content
    assert "Grade: N" in call.messages[-1].content


def test_a_rubric_is_asked_check_by_check() -> None:
    (call,) = calls(QUERY.replaced(rubric=("It is polite.",)))
    assert "Check 1: yes or no  (for: It is polite.)" in call.messages[-1].content


def test_a_pair_is_two_calls_in_both_orders() -> None:
    first, second = calls(QUERY.replaced(candidates=("Dear Ada", "Hello")))
    texts = [call.messages[-1].content for call in (first, second)]
    assert texts[0].index("Dear Ada") < texts[0].index("Hello")
    assert texts[1].index("Hello") < texts[1].index("Dear Ada")
    assert (first.sample_ix, second.sample_ix) == (0, 1)


def test_the_second_reading_is_in_the_other_order() -> None:
    (straight,), (turned,) = calls(QUERY), calls(QUERY, REGRADING)
    assert "from 0 (useless)" in straight.messages[-1].content
    assert "down to 0 (useless)" in turned.messages[-1].content


def test_each_call_has_a_fence_of_its_own_and_a_seed_that_does_not_change() -> None:
    (first,), (second,) = calls(QUERY), calls(QUERY)
    assert first.messages != second.messages
    assert first.sampling.seed == second.sampling.seed
    assert calls(QUERY, seed=1)[0].sampling.seed != first.sampling.seed


@pytest.mark.parametrize("logprobs", [None, TOP_LOGPROBS])
def test_probabilities_are_asked_for_where_the_job_wants_them(logprobs: int | None) -> None:
    job = Job(id="j", composition=GRADING, experts=("judge",), logprobs=logprobs)
    (call,) = grading_calls(JUDGE, QUERY, job, is_turned=False)
    assert call.sampling.logprobs == logprobs


def test_a_judge_that_left_the_pool_fails_its_queries() -> None:
    job = Job(id="j", composition=GRADING, experts=("gone",))
    round_ = GradingRound(GRADING, pool=Pool(experts=[JUDGE]), job=job)
    (step,) = round_.step([QueryState(id=1, job_id="j", query=QUERY)])
    assert isinstance(step, Done)
    assert step.answer.error_code == "expert_unavailable"


def test_after_the_replies_the_query_is_done() -> None:
    job = Job(id="j", composition=GRADING, experts=("judge",))
    state = QueryState(id=1, job_id="j", query=QUERY, stage=1)
    (step,) = GradingRound(GRADING, pool=Pool(experts=[JUDGE]), job=job).step([state])
    assert isinstance(step, Done)
