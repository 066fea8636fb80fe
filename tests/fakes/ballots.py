"""Queries in flight with their experts' responses, for aggregators."""

from collections.abc import Callable, Mapping, Sequence

from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.answers import Answer, Decision, FinishReason, Recruit, Usage
from orchestrator.domain.assignments import Ask, Call, CallRole, Done, QueryState, Response
from orchestrator.domain.cards import CompetenceCard
from orchestrator.domain.experts import EngineSpec, Expert, ExpertRole, Pool
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.ports.composing import Aggregator
from tests.fakes.grader import FakeGrader

FOUR = Query(
    id="q",
    question="Which?",
    options=("red", "green", "blue", "grey"),
    answer=0,
    answer_type=AnswerType.CHOICE,
)
OPEN = Query(id="q", question="How many?", answer_type=AnswerType.NUMBER)


def says(expert_id: str, value: str | None, *, sample_ix: int = 0, text: str | None = None) -> Response:
    """A response that states `value`; None = words without an answer."""
    words = f"answer: {value}" if value is not None else "I cannot tell."
    return Response(
        expert_id=expert_id,
        role=CallRole.EXPERT,
        stage=0,
        sample_ix=sample_ix,
        text=words if text is None else text,
        usage=Usage(prompt_tokens=10, completion_tokens=2, cost_usd=0.001),
    )


def fails(expert_id: str, code: str = "timeout", error: str = "no reply in 60 s") -> Response:
    return Response(expert_id=expert_id, role=CallRole.EXPERT, stage=0, error_code=code, error=error)


def truncated(expert_id: str) -> Response:
    return Response(
        expert_id=expert_id,
        role=CallRole.EXPERT,
        stage=0,
        text="<think> let me see",
        finish_reason=FinishReason.LENGTH,
    )


def written(expert_id: str, text: str, *, error_code: str | None = None) -> Response:
    """An aggregator's response."""
    return Response(
        expert_id=expert_id,
        role=CallRole.AGGREGATE,
        stage=1,
        text=text,
        error_code=error_code,
        usage=Usage(prompt_tokens=50, completion_tokens=5),
    )


def reply(call: Call, text: str, *, stage: int = 1, error_code: str | None = None) -> Response:
    """What a call of an aggregator brought back."""
    return Response(
        expert_id=call.expert_id,
        role=call.role,
        stage=stage,
        sample_ix=call.sample_ix,
        text="" if error_code else text,
        error_code=error_code,
        usage=Usage(prompt_tokens=50, completion_tokens=5),
    )


class Talk:
    """A query stepped until it is done: whoever is asked replies as `says` says.

    Attributes:
        asked: the calls of each step that asked.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        asked_of: QueryState,
        responses: Sequence[Response],
        says: Callable[[Call], str | None],
    ) -> None:
        self.asked: list[tuple[Call, ...]] = []
        heard: list[Response] = []
        for stage in range(1, 100):
            now = asked_of.model_copy(update={"stage": stage, "responses": (*responses, *heard)})
            step = aggregator.step(now, responses)
            if isinstance(step, Done):
                self.answer: Answer = step.answer
                self.state = now
                return
            assert isinstance(step, Ask)
            self.asked.append(step.calls)
            for call in step.calls:
                text = says(call)
                code = "engine_crashed" if text is None else None
                heard.append(reply(call, text or "", stage=stage, error_code=code))
        raise AssertionError("it never ends")


def state(
    accuracies: Mapping[str, float],
    *,
    query: Query = FOUR,
    responses: Sequence[Response] = (),
    weights: Mapping[str, float] | None = None,
) -> QueryState:
    """Experts were recruited in the order of the mapping, with equal weights unless given."""
    shares = weights or dict.fromkeys(accuracies, 1 / max(len(accuracies), 1))
    recruits = tuple(
        Recruit(expert_id=expert_id, weight=shares[expert_id], score=p, accuracy=p)
        for expert_id, p in accuracies.items()
    )
    decision = Decision(router="fake", recruits=recruits)
    return QueryState(id=1, job_id="j", query=query, decision=decision, responses=tuple(responses))


def expert(
    expert_id: str,
    *,
    engine: str | None = None,
    cost: float = 0.0,
    aggregates: bool = False,
    style: str = "full",
) -> Expert:
    roles = {ExpertRole.EXPERT} | ({ExpertRole.AGGREGATOR} if aggregates else set())
    return Expert(
        id=expert_id,
        engine=EngineSpec(id=engine or expert_id, backend="scripted", model=expert_id),
        roles=frozenset(roles),
        output_cost_per_token=cost,
        synthesize_prompt=style,
    )


def context(
    experts: Sequence[Expert] = (), cards: Mapping[str, CompetenceCard] | None = None
) -> AggregatorContext:
    """A pool with one aggregator, `scribe`, unless experts are given."""
    pool = Pool(experts=tuple(experts) or (expert("a"), expert("scribe", aggregates=True)))
    return AggregatorContext(grader=FakeGrader(), pool=pool, cards=cards or {}, seed=3)
