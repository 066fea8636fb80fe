import random
from collections.abc import Sequence

import pytest

from orchestrator.compositions.calls import call_seed
from orchestrator.compositions.dry_run import DryRun
from orchestrator.compositions.ensemble import Ensemble, withheld
from orchestrator.compositions.reading import SkillReader
from orchestrator.compositions.roll_call import RollCall
from orchestrator.compositions.waves import WaveOptions, Waves
from orchestrator.domain.answers import NOT_SURE, Answer, Decision, Recruit, Vote
from orchestrator.domain.assignments import Ask, Call, CallRole, Done, Job, QueryState, Response
from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.experts import EngineSpec, Expert, Pool
from orchestrator.domain.queries import Message, Query
from orchestrator.domain.skills import SkillTag
from orchestrator.errors import NoCapableExpertError
from orchestrator.ports.composing import Aggregator, Count, InFlight, Outlook, Pace, RoutingInput
from orchestrator.ports.skills import SkillAnnotator

POOL = Pool(
    experts=tuple(
        Expert(
            id=name, engine=EngineSpec(id=name, backend="scripted", model=name), max_tokens=64, most_tokens=64
        )
        for name in ("one", "two", "three")
    )
)
JOB = Job(id="j", composition="auto", seed=5, max_tokens=32)
QUERY = Query(id="q", question="What is 1 + 1?")


class NoSkills:
    def calls(self, query: Query) -> Ask | None:
        return None

    def annotate(
        self,
        queries: Sequence[Query],
        responses: Sequence[Sequence[Response]],
        *,
        vectors: FloatMatrix | None = None,
    ) -> list[tuple[SkillTag, ...]]:
        return [() for _ in queries]


class AsksFirst(NoSkills):
    def calls(self, query: Query) -> Ask | None:
        message = Message(role="user", content="skills?")
        return Ask(calls=(Call(expert_id="three", role=CallRole.ANNOTATE, messages=(message,)),))

    def annotate(
        self,
        queries: Sequence[Query],
        responses: Sequence[Sequence[Response]],
        *,
        vectors: FloatMatrix | None = None,
    ) -> list[tuple[SkillTag, ...]]:
        return [tuple(SkillTag(name=r.text) for r in group) for group in responses]


class Always:
    """Recruits the named experts; refuses questions that say so."""

    name = "always"

    def __init__(self, *expert_ids: str, reads_text: bool = True) -> None:
        self._expert_ids = expert_ids
        self.reads_text = reads_text

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        if any("nobody" in item.query.question for item in batch):
            raise NoCapableExpertError("nobody may answer.")
        recruits = tuple(Recruit(expert_id=e, weight=0.5, score=1, accuracy=0.5) for e in self._expert_ids)
        return [Decision(router=self.name, recruits=recruits, skills=item.skills) for item in batch]


def joined(responses: Sequence[Response]) -> Answer:
    return Answer(text="+".join(r.text for r in responses))


class Joined:
    name = "joined"

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        return Done(answer=joined(expert_responses))


class Wavering(Joined):
    """Is content with the first answer that does not say `unsure`; `n_counted`: counts of the votes."""

    n_counted = 0

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        self.n_counted += 1
        return super().step(state, expert_responses)

    def count(self, state: QueryState, expert_responses: Sequence[Response]) -> Count:
        self.n_counted += 1
        sure = sum(not r.failed and r.text != "unsure" for r in expert_responses)
        n_left = len(state.decision.reserves) if state.decision else 0
        outlook = Outlook(sure, 2 * sure, 0.0, None, (1.0,) * n_left)
        return Count(outlook, lambda: Done(answer=joined(expert_responses)))


def ensemble(
    *expert_ids: str,
    annotator: SkillAnnotator | None = None,
    reads_text: bool = True,
    job: Job = JOB,
    quotes: bool = False,
    aggregator: Aggregator | None = None,
    pace: Pace | None = None,
) -> Ensemble:
    return Ensemble(
        "auto",
        pool=POOL,
        reader=SkillReader(annotator or NoSkills(), None, None),
        router=Always(*expert_ids, reads_text=reads_text),
        aggregator=aggregator or Joined(),
        job=job,
        quotes=quotes,
        waves=pace,
    )


def state(*, stage: int = 0, query: Query = QUERY, **fields: object) -> QueryState:
    return QueryState.model_validate({"id": 1, "job_id": "j", "query": query, "stage": stage, **fields})


def response(expert_id: str, text: str, role: CallRole = CallRole.EXPERT) -> Response:
    return Response(expert_id=expert_id, role=role, stage=0, text=text)


def test_a_call_is_read_along_with_only_where_its_words_will_be_the_answer() -> None:
    """A job that is streamed, a lone recruit, an aggregator that quotes: all three."""
    streamed = JOB.model_copy(update={"stream": True})
    cases = [
        ensemble("one", job=streamed, quotes=True),
        ensemble("one", "two", job=streamed, quotes=True),
        ensemble("one", job=streamed),
        ensemble("one", quotes=True),
    ]
    steps = [composition.step([state()])[0] for composition in cases]
    calls = [step.calls for step in steps if isinstance(step, Ask)]
    assert [any(call.sampling.stream for call in of_case) for of_case in calls] == [True, False, False, False]


def test_the_first_step_asks_the_recruits_and_gives_the_decision() -> None:
    (step,) = ensemble("one", "two").step([state()])

    assert isinstance(step, Ask)
    assert [c.expert_id for c in step.calls] == ["one", "two"]
    assert step.decision is not None
    assert step.calls[0].sampling.max_tokens == 32


def test_an_expert_recruited_twice_is_sampled_twice_with_different_seeds() -> None:
    (step,) = ensemble("one", "one").step([state()])

    assert isinstance(step, Ask)
    assert [c.sample_ix for c in step.calls] == [0, 1]
    assert step.calls[0].sampling.seed != step.calls[1].sampling.seed


def test_responses_are_aggregated_and_the_decision_is_kept() -> None:
    decision = Decision(router="always", recruits=())
    responses = (response("one", "2"), response("two", "3"))

    (step,) = ensemble("one").step([state(stage=1, decision=decision, responses=responses)])

    assert isinstance(step, Done)
    assert step.answer.text == "2+3"
    assert step.answer.decision == decision


def test_an_annotator_that_needs_a_model_is_asked_before_recruiting() -> None:
    composition = ensemble("one", annotator=AsksFirst())

    (first,) = composition.step([state()])
    annotated = state(stage=1, responses=(response("three", "addition", CallRole.ANNOTATE),))
    (second,) = composition.step([annotated])

    assert isinstance(first, Ask)
    assert [c.role for c in first.calls] == [CallRole.ANNOTATE]
    assert isinstance(second, Ask)
    assert second.decision is not None
    assert [s.name for s in second.decision.skills] == ["addition"]


def test_a_router_that_does_not_read_the_text_waits_for_no_skills() -> None:
    (step,) = ensemble("one", annotator=AsksFirst(), reads_text=False).step([state()])
    assert isinstance(step, Ask)
    assert step.decision is not None
    assert step.decision.skills == ()
    assert [c.role for c in step.calls] == [CallRole.EXPERT]


def test_steps_come_back_in_the_order_of_their_queries() -> None:
    decided = state(stage=1, decision=Decision(router="r", recruits=()), responses=(response("one", "x"),))
    fresh = decided.model_copy(update={"id": 2, "stage": 0, "decision": None, "responses": ()})

    steps = ensemble("one").step([decided, fresh, decided.model_copy(update={"id": 3})])

    assert [type(s) for s in steps] == [Done, Ask, Done]


def test_a_query_nobody_may_answer_ends_in_an_error_answer_not_an_exception() -> None:
    (step,) = ensemble("one").step([state(query=Query(id="q", question="for nobody"))])

    assert isinstance(step, Done)
    assert step.answer.error_code == "no_capable_expert"


def test_a_call_is_seeded_by_what_is_asked_not_by_the_query_id() -> None:
    other_id = QUERY.model_copy(update={"id": "other"})

    assert call_seed(1, QUERY, "one", 0) == call_seed(1, other_id, "one", 0)
    assert call_seed(1, QUERY, "one", 0) != call_seed(2, QUERY, "one", 0)


def test_a_roll_call_asks_the_experts_of_the_job_once() -> None:
    job = JOB.model_copy(update={"experts": ("two", "three")})
    roll_call = RollCall("roll_call", pool=POOL, job=job)

    (first,) = roll_call.step([state()])
    (second,) = roll_call.step([state(stage=1)])

    assert isinstance(first, Ask)
    assert [c.expert_id for c in first.calls] == ["two", "three"]
    assert isinstance(second, Done)


def test_an_exam_shows_the_candidates() -> None:
    job = JOB.model_copy(update={"experts": ("two",)})
    query = Query(id="q", question="What is 1 + 1?", candidates=("2", "3", "11"))

    (step,) = RollCall("exam", pool=POOL, job=job, role=CallRole.AGGREGATE).step([state(query=query)])

    assert isinstance(step, Ask)
    assert step.calls[0].role is CallRole.AGGREGATE
    assert "[candidate 3 " in step.calls[0].messages[0].content


def test_a_dry_run_ends_with_the_decision_and_asks_nobody() -> None:
    inner = ensemble("one", "two")
    [step] = DryRun("route:auto", inner).step([state()])
    [asked] = inner.step([state()])
    assert isinstance(step, Done)
    assert isinstance(asked, Ask)
    assert step.answer.decision == asked.decision
    assert step.answer.error_code is None


def test_a_dry_run_still_asks_the_model_that_annotates() -> None:
    [step] = DryRun("route:auto", ensemble("one", annotator=AsksFirst())).step([state()])
    assert isinstance(step, Ask)
    assert step.calls[0].role is CallRole.ANNOTATE


def test_a_dry_run_that_finds_nobody_says_so() -> None:
    nobody = Query(id="q", question="nobody knows")
    [step] = DryRun("route:auto", ensemble("one")).step([state(query=nobody)])
    assert isinstance(step, Done)
    assert (step.answer.decision, step.answer.error_code) == (None, "no_capable_expert")


IN_WAVES = Decision(
    router="always",
    recruits=(Recruit(expert_id="one", weight=1, score=1, accuracy=0.5),),
    reserves=tuple(Recruit(expert_id=e, weight=1, score=1, accuracy=0.5) for e in ("two", "three")),
)


def next_wave(
    *responses: Response, decision: Decision = IN_WAVES, aggregator: Wavering | None = None
) -> Ask | Done:
    aggregator = aggregator or Wavering()
    composition = Ensemble(
        "auto",
        pool=POOL,
        reader=SkillReader(NoSkills(), None, None),
        router=Always(),
        aggregator=aggregator,
        job=JOB,
        waves=Waves(aggregator, WaveOptions()),
    )
    (step,) = composition.step([state(stage=1, decision=decision, responses=responses)])
    return step


def test_an_answer_that_is_enough_ends_the_waves() -> None:
    step = next_wave(response("one", "2"))
    assert isinstance(step, Done)
    assert step.answer.decision == IN_WAVES


@pytest.mark.parametrize("text", ["2", "unsure"])
@pytest.mark.parametrize("n_reserves", [0, 2])
def test_a_wave_counts_its_votes_once_whether_it_is_the_last_or_not(text: str, n_reserves: int) -> None:
    aggregator = Wavering()
    decision = IN_WAVES.model_copy(update={"reserves": IN_WAVES.reserves[:n_reserves]})
    next_wave(response("one", text), decision=decision, aggregator=aggregator)
    assert aggregator.n_counted == 1


def test_otherwise_the_next_reserve_is_asked_and_recruited_with_the_reason() -> None:
    step = next_wave(response("one", "unsure"))
    assert isinstance(step, Ask)
    assert [c.expert_id for c in step.calls] == ["two"]
    assert step.decision is not None
    assert step.decision.expert_ids == ("one", "two")
    assert step.decision.recruits[1].note == "asked next: no readable answer yet"
    assert [r.expert_id for r in step.decision.reserves] == ["three"]


def test_an_expert_that_fails_is_replaced_by_the_next_reserve() -> None:
    failed = Response(expert_id="one", role=CallRole.EXPERT, stage=0, error_code="timeout")
    step = next_wave(failed)
    assert isinstance(step, Ask)
    assert [c.expert_id for c in step.calls] == ["two"]


def test_when_the_reserves_are_used_up_the_answers_there_are_count() -> None:
    used_up = IN_WAVES.model_copy(update={"reserves": ()})
    step = next_wave(response("one", "unsure"), decision=used_up)
    assert isinstance(step, Done)
    assert step.answer.text == "unsure"


def test_an_answer_less_sure_than_wanted_is_withheld_with_its_reasons() -> None:
    votes = (Vote(expert_id="one", value="B", weight=1.0),)
    answer = Answer(text="(B)", value="B", confidence=0.3, answered_by="one", votes=votes)
    kept = withheld(answer, below=0.4)
    assert (kept.text, kept.value, kept.confidence, kept.votes) == (NOT_SURE, None, None, votes)
    assert kept.notes == ("withheld: confidence 0.30 is below 0.40; the votes led to 'B'",)


def test_nothing_else_is_withheld() -> None:
    sure = Answer(text="(B)", value="B", confidence=0.4)
    silent = Answer(text="(B)", value="B")
    assert [withheld(answer, below=0.4) for answer in (sure, silent)] == [sure, silent]
    assert withheld(sure, below=None) == sure


@pytest.mark.parametrize(
    ("asked", "notes"),
    [
        (None, ()),
        (64, ()),
        (65, ("max_tokens 65 is more than the pool gives, in tokens: one 64, two 64",)),
    ],
)
def test_a_response_shorter_than_asked_for_is_told(asked: int | None, notes: tuple[str, ...]) -> None:
    built = ensemble("one", "two", job=JOB.model_copy(update={"max_tokens": asked}))
    [ask] = built.step([state()])
    assert isinstance(ask, Ask)

    [done] = built.step(
        [state(stage=1, decision=ask.decision, responses=(response("one", "x"), response("two", "y")))]
    )

    assert isinstance(done, Done)
    assert done.answer.notes == notes


def decided(*recruits: str, reserves: tuple[str, ...] = ()) -> Decision:
    made = [Recruit(expert_id=e, weight=0.5, score=1, accuracy=0.5) for e in (*recruits, *reserves)]
    return Decision(router="r", recruits=tuple(made[: len(recruits)]), reserves=tuple(made[len(recruits) :]))


def test_a_recruit_that_left_the_pool_does_not_hold_up_the_others_answer() -> None:
    """Its call has failed on the books; nothing else is known of it any more."""
    failed = response("gone", "").model_copy(update={"error_code": "expert_unavailable"})
    asked = state(stage=1, decision=decided("one", "gone"), responses=(response("one", "B"), failed))
    [done] = ensemble("one").step([asked])
    assert isinstance(done, Done)
    assert done.answer.error_code is None
    assert done.answer.text.startswith("B")


def test_a_reserve_that_left_the_pool_is_passed_over() -> None:
    wavering = Wavering()
    built = Ensemble(
        "auto",
        pool=POOL,
        reader=SkillReader(NoSkills(), None, None),
        router=Always("one"),
        aggregator=wavering,
        job=JOB,
        waves=Waves(wavering, WaveOptions()),
    )
    asked = state(
        stage=1, decision=decided("one", reserves=("gone", "two")), responses=(response("one", "unsure"),)
    )
    [step] = built.step([asked])
    assert isinstance(step, Ask)
    assert [call.expert_id for call in step.calls] == ["two"]


@pytest.mark.parametrize(("experts", "asked"), [(("one", "gone"), ["one"]), (("gone",), None)])
def test_a_roll_call_asks_those_who_are_still_in_the_pool(
    experts: tuple[str, ...], asked: list[str] | None
) -> None:
    job = Job(id="j", composition="roll_call", experts=experts)
    [step] = RollCall("roll_call", pool=POOL, job=job).step([state()])
    if asked is None:
        assert isinstance(step, Done)
        assert step.answer.error_code == "expert_unavailable"
    else:
        assert isinstance(step, Ask)
        assert [call.expert_id for call in step.calls] == asked


class Counting(Joined):
    """Says how many queries were stepped together; asks once more before it answers."""

    def __init__(self, n: int = 0) -> None:
        self._n = n

    def learn(self, batch: Sequence[InFlight]) -> Aggregator:
        return Counting(len(batch))

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        return Done(answer=Answer(text=f"{self._n} {state.seed} {state.max_tokens} {len(expert_responses)}"))


def test_an_aggregator_may_learn_from_the_queries_that_are_stepped_together() -> None:
    decision = decided("one")
    states = [
        state(stage=1, query=QUERY.replaced(id=str(i))).model_copy(
            update={"id": i, "decision": decision, "responses": (response("one", "2"),)}
        )
        for i in range(3)
    ]
    steps = ensemble(aggregator=Counting()).step(states)
    assert [step.answer.text for step in steps if isinstance(step, Done)] == ["3 5 32 1"] * 3


class FirstOnly:
    """A pace: asks the last recruit only, and then decides by itself."""

    def opened(self, state: QueryState, decision: Decision) -> Decision:
        return decision.model_copy(update={"recruits": decision.recruits[-1:]})

    def next(self, state: QueryState, responses: Sequence[Response]) -> Decision | Ask | Done:
        return Done(answer=Answer(text="paced"))


def test_a_pace_says_who_is_asked_first_and_when_it_is_enough() -> None:
    paced = ensemble("one", "two", pace=FirstOnly())
    [ask] = paced.step([state()])
    assert isinstance(ask, Ask)
    assert [call.expert_id for call in ask.calls] == ["two"]
    [done] = paced.step([state(stage=1, decision=ask.decision, responses=(response("two", "2"),))])
    assert isinstance(done, Done)
    assert done.answer.text == "paced"


@pytest.mark.parametrize("role", [CallRole.JUDGE, CallRole.SAMPLE, CallRole.DISCUSS, CallRole.VERIFY])
def test_nobody_stands_in_once_an_aggregator_has_asked(role: CallRole) -> None:
    failed = response("one", "").model_copy(update={"error_code": "engine_crashed"})
    asked = state(
        stage=2,
        decision=decided("one", reserves=("two",)),
        responses=(failed, response("three", "x", role)),
    )
    [step] = ensemble().step([asked])
    assert isinstance(step, Done)
