from aggregators.outputs import make_aggregator
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import CallRole, Done, QueryState, Response
from orchestrator.domain.experts import Pool
from orchestrator.domain.queries import AnswerType, Query
from skills.grading.grader import AnswerGrader

QUERY = Query(id="q", question="How many?", answer_type=AnswerType.NUMBER)
CONTEXT = AggregatorContext(grader=AnswerGrader(), pool=Pool(experts=()), cards={})


def says(expert_id: str, text: str) -> Response:
    return Response(expert_id=expert_id, role=CallRole.EXPERT, stage=0, text=text)


def test_one_short_response_outvotes_two_long_ones() -> None:
    """Four words once: 1/4. Nine words twice: 2/9."""
    long = "After some thought I think the answer is 8"
    responses = [says("a", long), says("b", long), says("c", "The answer is 7")]
    step = make_aggregator("terse", CONTEXT).step(QueryState(id=1, job_id="j", query=QUERY), responses)
    assert isinstance(step, Done)
    assert (step.answer.value, step.answer.answered_by) == ("7", "c")
