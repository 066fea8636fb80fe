"""Votes that nobody stands behind."""

import numpy as np
import pytest

from aggregators.outputs import make_aggregator
from orchestrator.compositions.ensemble import Ensemble
from orchestrator.compositions.floors import NOT_MEASURED, SHARE, floor_of, floored, is_below, not_measured
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.answers import NOT_SURE, Answer, Decision, Recruit
from orchestrator.domain.assignments import Done, Job, QueryState, Response
from orchestrator.domain.cards import ABSTAINED, RIGHT, WRONG, Profile, Tally
from orchestrator.domain.experts import Pool
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.ports.composing import Aggregator
from orchestrator.ports.telemetry import unwatched
from orchestrator.routing import RouterContext, make_router
from tests.fakes.app import make_card, make_expert
from tests.fakes.ballots import says
from tests.fakes.grader import FakeGrader

NAMES = ("ada", "bob", "cyd", "dee", "eve", "fay")
POOL = Pool(experts=tuple(make_expert(name) for name in NAMES))
QUERY = Query(id="q", question="Who?", answer_type=AnswerType.TEXT)


class Unsure:
    """Takes the last response, at this confidence; `writes`: as words of its own."""

    name = "unsure"

    def __init__(self, confidence: float | None, *, writes: bool = False) -> None:
        self._confidence = confidence
        self._writes = writes

    def step(self, state: QueryState, expert_responses: tuple[Response, ...]) -> Done:
        last = max(expert_responses, key=lambda response: response.expert_id)
        value = FakeGrader().read(state.query, last)
        by = None if self._writes else last.expert_id
        answer = Answer(text=last.text, value=value, confidence=self._confidence, answered_by=by)
        return Done(answer=answer)


def answered(
    aggregator: Aggregator,
    *responses: Response,
    floor: float,
    note: str | None = None,
    abstain_below: float | None = None,
) -> Answer:
    recruits = tuple(Recruit(expert_id=name, weight=1 / 6, score=1, accuracy=0.2) for name in NAMES)
    context = AggregatorContext(grader=FakeGrader(), pool=POOL, cards={})
    routing = RouterContext(cards={}, profile=None, expert_ids=NAMES)
    composition = Ensemble(
        "auto",
        pool=POOL,
        reader=None,
        router=make_router("all", routing),
        aggregator=aggregator,
        job=Job(id="j", composition="auto"),
        quoting=make_aggregator("first", context),
        watch=unwatched,
        floor=floor,
        note=note,
        abstain_below=abstain_below,
    )
    decision = Decision(router="all", recruits=recruits)
    state = QueryState(id=1, job_id="j", query=QUERY, stage=1, decision=decision, responses=responses)
    [step] = composition.step([state])
    assert isinstance(step, Done)
    return step.answer


SIX = tuple(says(name, f"text of {name}") for name in NAMES)


def test_a_tie_of_six_texts_is_answered_by_the_best_expert_and_says_so() -> None:
    answer = answered(Unsure(0.007), *SIX, floor=0.05)
    assert (answer.answered_by, answer.value, answer.confidence) == ("ada", "text of ada", 0.007)
    assert answer.notes[-1] == (
        "nobody is known to be good at this (confidence 0.007, below 0.050): "
        "the best expert that was asked answers"
    )


def test_the_best_expert_is_the_best_of_those_that_can_be_read() -> None:
    answer = answered(Unsure(0.007), says("ada", None), *SIX[1:], floor=0.05)
    assert answer.answered_by == "bob"


def test_what_is_to_be_withheld_is_withheld() -> None:
    answer = answered(Unsure(0.007), *SIX, floor=0.05, abstain_below=0.3)
    assert (answer.text, answer.value, answer.confidence) == (NOT_SURE, None, None)


@pytest.mark.parametrize(("confidence", "floor"), [(0.05, 0.05), (0.5, 0.05), (None, 0.05), (0.007, 0.0)])
def test_surer_votes_and_those_that_estimate_nothing_stand(confidence: float | None, floor: float) -> None:
    answer = answered(Unsure(confidence), *SIX, floor=floor)
    assert (answer.answered_by, answer.notes) == ("fay", ())


def test_what_was_written_and_not_voted_for_stands() -> None:
    assert answered(Unsure(0.007, writes=True), *SIX, floor=0.05).text == SIX[-1].text


def test_nobody_s_words_leave_the_answer_as_it_is() -> None:
    silent = [says(name, "", text="") for name in NAMES]
    answer = answered(Unsure(0.007), *silent, floor=0.05)
    assert (answer.answered_by, answer.notes) == ("fay", ())


def test_a_pool_that_was_never_measured_says_so() -> None:
    assert not_measured([]) == NOT_MEASURED
    assert not_measured([make_card("ada").replaced(total=Tally())]) == NOT_MEASURED
    assert not_measured([make_card("ada")]) is None
    assert answered(Unsure(0.9), *SIX, floor=0.0, note=NOT_MEASURED).notes == (NOT_MEASURED,)


def test_the_default_is_a_tenth_of_the_best_experts_accuracy() -> None:
    """8 of 10 right, drawn to 0.5 by two observations: 9 of 12."""
    outcomes = [[RIGHT] * 8 + [WRONG, ABSTAINED], [WRONG] * 10]
    profile = Profile(
        expert_ids=("ada", "bob"),
        query_hashes=("h",) * 10,
        texts=("t",) * 10,
        skills=((),) * 10,
        domains=("",) * 10,
        outcomes=np.array(outcomes, dtype=np.int8),
        embeddings=np.zeros((10, 2), dtype=np.float32),
    )
    assert floor_of(profile) == pytest.approx(SHARE * 9 / 12)
    assert floor_of(None) == 0.0


def test_below_is_strictly_below() -> None:
    votes = Answer(text="x", confidence=0.1, answered_by="ada")
    assert (is_below(votes, 0.1), is_below(votes, 0.11)) == (False, True)


def test_notes_of_the_votes_stay() -> None:
    votes = Answer(text="x", value="x", confidence=0.01, answered_by="bob", notes=("one failed",), n_calls=3)
    best = Answer(text="y", value="y", answered_by="ada", n_calls=1)
    said = floored(votes, best, floor=0.05)
    assert (said.notes[0], said.text, said.n_calls) == ("one failed", "y", 3)
