"""Inferring around a composition that asks its recruit and quotes what comes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from orchestrator.compositions.inferring import AS_OPEN, AS_TEXT, Inferring, TypeReader
from orchestrator.compositions.nearest import NO_PROFILE, Inference
from orchestrator.domain.answers import Answer, Decision, Recruit
from orchestrator.domain.assignments import Ask, Call, CallRole, Done, Job, QueryState, Response, Step
from orchestrator.domain.cards import FloatMatrix, Profile, Transcript
from orchestrator.domain.queries import AnswerType, Message, Query
from orchestrator.domain.terms import StructuredOutput, Terms
from orchestrator.domain.tools import Tool, ToolUse
from orchestrator.questions.fields import build_query
from tests.fakes.grader import FakeGrader

JOB = Job(id="j", composition="auto")
RESERVE = Recruit(expert_id="two", weight=0.5, score=1, accuracy=0.5)
DECISION = Decision(router="any", recruits=(Recruit(expert_id="one", weight=1, score=1, accuracy=0.5),))


@dataclass
class Inner:
    """Asks `one`, then quotes the first response; `seen`: types of the questions as they came."""

    name: str = "auto"
    reserves: tuple[Recruit, ...] = ()
    seen: list[AnswerType] = field(default_factory=list)

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        self.seen += [state.query.answer_type for state in states]
        return [self._step(state) for state in states]

    def route(self, queries: Sequence[Query]) -> list[Decision]:
        self.seen += [query.answer_type for query in queries]
        return [DECISION for _ in queries]

    def _step(self, state: QueryState) -> Step:
        if state.decision is None:
            call = Call(expert_id="one", role=CallRole.EXPERT, messages=(Message(role="user", content="?"),))
            return Ask(calls=(call,), decision=DECISION.replaced(reserves=self.reserves))
        return Done(answer=Answer(text=state.responses[0].text, decision=state.decision))


class OneAxis:
    """Questions with a digit lie on one axis, others on the other; counts what it embeds."""

    name = "axis"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> FloatMatrix:
        self.texts += texts
        found = [[1.0, 0.0] if any(map(str.isdigit, text)) else [0.0, 1.0] for text in texts]
        return np.array(found, dtype=np.float32).reshape(len(texts), 2)


def reader(embedder: OneAxis | None = None) -> TypeReader:
    """Of a pool that was profiled on five sums."""
    made = embedder or OneAxis()
    sums = [Query(id=str(i), question=f"{i} + 1?", answer_type=AnswerType.NUMBER) for i in range(5)]
    profile = Profile(
        expert_ids=(),
        query_hashes=tuple(query.content_hash for query in sums),
        texts=tuple(query.text for query in sums),
        skills=((),) * 5,
        domains=("",) * 5,
        outcomes=np.zeros((0, 5), dtype=np.int8),
        embeddings=OneAxis().encode([query.text for query in sums]),
        transcript=Transcript(tuple(sums), (), np.zeros((0, 5), dtype=np.int32)),
    )
    return TypeReader(lambda: profile, lambda: made)


def inferring(
    inner: Inner, *, types: TypeReader | None = None, job: Job = JOB, otherwise: Inference = AS_OPEN
) -> Inferring:
    return Inferring(inner, job=job, types=types, grader=FakeGrader(), otherwise=otherwise)


def asked(question: str = "What is 1 + 1?", **fields: object) -> Query:
    query = build_query("q", {"question": question}, options=None, answer_type=None, infers=True)
    return query.replaced(**fields) if fields else query


def state(query: Query, *texts: str, decision: Decision | None = None) -> QueryState:
    responses = tuple(
        Response(expert_id=name, role=CallRole.EXPERT, stage=0, text=text)
        for name, text in zip(("one", "two", "three"), texts, strict=False)
    )
    return QueryState(id=1, job_id="j", query=query, stage=len(texts), decision=decision, responses=responses)


def opened(composition: Inferring, query: Query) -> Decision:
    [step] = composition.step([state(query)])
    assert isinstance(step, Ask)
    assert step.decision is not None
    return step.decision


def answered(composition: Inferring, of: QueryState) -> Answer:
    [step] = composition.step([of])
    assert isinstance(step, Done)
    return step.answer


def test_the_type_is_inferred_where_a_question_is_routed_and_kept_in_its_decision() -> None:
    inner = Inner()
    decision = opened(inferring(inner, types=reader()), asked())
    assert (decision.answer_type, inner.seen) == (AnswerType.NUMBER, [AnswerType.NUMBER])
    assert decision.notes[-1].startswith("answer type number inferred")


def test_later_steps_go_by_the_decision_and_embed_nothing() -> None:
    embedder, inner = OneAxis(), Inner()
    known = DECISION.replaced(answer_type=AnswerType.NUMBER)
    answer = answered(inferring(inner, types=reader(embedder)), state(asked(), "answer: 2", decision=known))
    assert (answer.answer_type, inner.seen) == (AnswerType.NUMBER, [AnswerType.NUMBER])
    assert embedder.texts == []


def test_prose_is_open() -> None:
    assert opened(inferring(Inner(), types=reader()), asked("Tell me a tale.")).answer_type is AnswerType.OPEN


def test_a_type_that_was_said_is_the_question_s_and_in_no_decision() -> None:
    embedder, inner = OneAxis(), Inner()
    said = Query(id="q", question="What is 1 + 1?", answer_type=AnswerType.TEXT)
    decision = opened(inferring(inner, types=reader(embedder)), said)
    assert (decision, inner.seen, embedder.texts) == (DECISION, [AnswerType.TEXT], [])
    answer = answered(inferring(inner), state(said, "two", decision=decision))
    assert answer.answer_type is AnswerType.TEXT


def test_without_a_profile_questions_are_open_and_say_why() -> None:
    decision = opened(inferring(Inner(), types=TypeReader(lambda: None, OneAxis)), asked())
    assert (decision.answer_type, decision.notes) == (AnswerType.OPEN, (NO_PROFILE,))


@pytest.mark.parametrize(
    ("otherwise", "answer_type"), [(AS_OPEN, AnswerType.OPEN), (AS_TEXT, AnswerType.TEXT)]
)
def test_where_nobody_votes_nothing_is_compared(otherwise: Inference, answer_type: AnswerType) -> None:
    decision = opened(inferring(Inner(), types=None, otherwise=otherwise), asked())
    assert (decision.answer_type, decision.notes) == (answer_type, ())


TOOLS = Terms(tools=ToolUse(tools=(Tool(name="f"),)))
BEGUN = {"after": (Message(role="assistant", content="It is"),)}


@pytest.mark.parametrize("fields", [{"terms": TOOLS}, {"terms": Terms(logprobs=1)}, BEGUN])
def test_what_one_expert_answers_is_open(fields: dict[str, object]) -> None:
    embedder = OneAxis()
    decision = opened(inferring(Inner(), types=reader(embedder)), asked(**fields))
    assert (decision.answer_type, embedder.texts) == (AnswerType.OPEN, [])


def test_json_of_a_schema_is_read_as_json() -> None:
    form = Terms(structured_output=StructuredOutput(json_schema={"type": "object"}))
    composition = inferring(Inner(), types=reader())
    decision = opened(composition, asked(terms=form))
    answer = answered(composition, state(asked(terms=form), "{}", decision=decision))
    assert (decision.answer_type, answer.answer_type) == (AnswerType.TEXT, AnswerType.JSON)


def test_a_number_that_nobody_states_was_prose_after_all() -> None:
    inner = Inner()
    known = DECISION.replaced(answer_type=AnswerType.NUMBER)
    answer = answered(inferring(inner), state(asked(), "Once upon a time", decision=known))
    assert (answer.answer_type, inner.seen) == (AnswerType.OPEN, [AnswerType.OPEN])
    assert answer.decision is not None
    assert answer.decision.answer_type is AnswerType.OPEN
    assert answer.decision.notes[-1].startswith("no response has an answer of the type number")


@pytest.mark.parametrize(
    ("texts", "answer_type"),
    [
        (("a tale",), AnswerType.NUMBER),  # a reserve may still state one
        (("a tale", "another"), AnswerType.OPEN),
        (("a tale", "answer: 4"), AnswerType.NUMBER),
    ],
)
def test_one_reserve_is_heard_before_a_question_is_held_to_be_open(
    texts: tuple[str, ...], answer_type: AnswerType
) -> None:
    known = DECISION.replaced(answer_type=AnswerType.NUMBER, reserves=(RESERVE,))
    answer = answered(inferring(Inner()), state(asked(), *texts, decision=known))
    assert answer.answer_type is answer_type


def test_failures_do_not_make_a_question_open() -> None:
    known = DECISION.replaced(answer_type=AnswerType.NUMBER)
    failed = state(asked(), "x", decision=known)
    response = failed.responses[0].model_copy(update={"error_code": "timeout"})
    answer = answered(inferring(Inner()), failed.model_copy(update={"responses": (response,)}))
    assert answer.answer_type is AnswerType.NUMBER


def test_a_dry_run_says_the_type_too() -> None:
    inner = Inner()
    said = Query(id="s", question="Say yes.", answer_type=AnswerType.TEXT)
    first, second = inferring(inner, types=reader()).route([asked(), said])
    assert (first.answer_type, second.answer_type) == (AnswerType.NUMBER, None)
    assert inner.seen == [AnswerType.NUMBER, AnswerType.TEXT]


def test_queries_of_one_step_are_embedded_together_and_keep_their_order() -> None:
    embedder, inner = OneAxis(), Inner()
    said = Query(id="s", question="Is 4 even?", answer_type=AnswerType.TEXT)
    states = [state(asked("What is 2 + 2?")), state(said), state(asked("Sing.")), state(asked("And 3 + 3?"))]
    steps = inferring(inner, types=reader(embedder)).step(states)
    assert inner.seen == [AnswerType.NUMBER, AnswerType.TEXT, AnswerType.OPEN, AnswerType.NUMBER]
    assert embedder.texts[-3:] == ["What is 2 + 2?", "Sing.", "And 3 + 3?"]
    assert [isinstance(step, Ask) for step in steps] == [True] * 4


def test_a_short_question_is_compared_with_what_it_leans_on() -> None:
    embedder = OneAxis()
    earlier = (Message(role="user", content="What is the sum of 17 and 4?"),)
    decision = opened(inferring(Inner(), types=reader(embedder)), asked("And doubled?", context=earlier))
    assert decision.answer_type is AnswerType.NUMBER
