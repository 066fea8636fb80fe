import pytest

from aggregators.outputs import make_aggregator
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Ask, CallRole, Done, QueryState, Response
from orchestrator.domain.experts import EngineSpec, Expert, ExpertRole, Pool
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.errors import ConfigError
from skills.grading.grader import AnswerGrader

QUERY = Query(id="q", question="How many?", answer_type=AnswerType.NUMBER)
ENGINE = EngineSpec(id="e", backend="scripted", model="/w")
JUDGE = Expert(id="judge", engine=ENGINE, roles=frozenset({ExpertRole.AGGREGATOR}))
CONTEXT = AggregatorContext(grader=AnswerGrader(), pool=Pool(experts=(JUDGE,)), cards={})


def says(expert_id: str, text: str, role: CallRole = CallRole.EXPERT) -> Response:
    return Response(expert_id=expert_id, role=role, stage=0, text=text)


EXPERTS = [says("a", "The answer is 8"), says("b", "The answer is 8"), says("c", "The answer is 7")]


def after(*rulings: Response) -> Ask | Done:
    state = QueryState(id=1, job_id="j", query=QUERY, responses=tuple(rulings))
    return make_aggregator("referee", CONTEXT).step(state, EXPERTS)


def test_the_referee_reads_each_answer_once() -> None:
    step = after()
    assert isinstance(step, Ask)
    assert step.calls[0].expert_id == "judge"
    assert step.calls[0].messages[0].content.count("- 8") == 1


@pytest.mark.parametrize(
    ("ruling", "value"), [("The answer is 7", "7"), ("The answer is 9", "8"), ("Who knows", "8")]
)
def test_what_it_names_wins_if_an_expert_gave_it(ruling: str, value: str) -> None:
    step = after(says("judge", ruling, CallRole.AGGREGATE))
    assert isinstance(step, Done)
    assert step.answer.value == value


def test_a_pool_without_a_referee_is_refused() -> None:
    with pytest.raises(ConfigError, match="Give a member the role 'aggregator'"):
        make_aggregator("referee", CONTEXT._replace(pool=Pool(experts=())))
