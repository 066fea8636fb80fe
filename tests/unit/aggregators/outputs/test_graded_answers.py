"""Answers to open questions: who is asked, whose words are taken, and what is said of it."""

from collections.abc import Mapping, Sequence

import pytest

from aggregators.outputs import make_aggregator
from aggregators.outputs.graded import GradedAnswer
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.answers import Answer, Decision, FinishReason, Recruit
from orchestrator.domain.assignments import CallRole, Done, QueryState, Response
from orchestrator.domain.cards import Profile
from orchestrator.domain.experts import Pool
from skills.grading.grader import AnswerGrader
from tests.fakes.ballots import expert, fails
from tests.fakes.prose import BRIEF, LETTER, LONG, Writes, graded_card, graded_profile, moody, steady

OTHER = LONG.replace("Rome", "The city")
MOODY: Mapping[str, Writes] = {"best": moody(0.9, 0.1), "second": steady(0.6), "third": steady(0.5)}
PAYS = graded_profile(MOODY, 150)
PAYS_NOT = graded_profile({**MOODY, "best": moody(0.9, 0.9)}, 150)
TOO_FEW = graded_profile(MOODY, 60)


def graded(profile: Profile | None, **options: object) -> GradedAnswer:
    names = ("best", "second", "third")
    context = AggregatorContext(
        grader=AnswerGrader(),
        pool=Pool(experts=tuple(expert(name) for name in names)),
        cards={name: graded_card(name, 0.5) for name in names},
        profile=profile,
        seed=3,
    )
    made = make_aggregator("graded", context, options)  # type: ignore[arg-type]
    assert isinstance(made, GradedAnswer)
    return made


def recruit(expert_id: str) -> Recruit:
    return Recruit(expert_id=expert_id, weight=0.5, score=0.5, accuracy=0.5)


def state(*recruits: str, reserves: Sequence[str] = ()) -> QueryState:
    decision = Decision(
        router="graded",
        recruits=tuple(recruit(name) for name in recruits),
        reserves=tuple(recruit(name) for name in reserves),
    )
    return QueryState(id=1, job_id="j", query=LETTER, decision=decision)


def writes(expert_id: str, text: str, *, cut: bool = False) -> Response:
    reason = FinishReason.LENGTH if cut else FinishReason.STOP
    return Response(expert_id=expert_id, role=CallRole.EXPERT, stage=0, text=text, finish_reason=reason)


ASKED = state("best", reserves=("second", "third"))
ALL = state("best", "second", "third")


def asked_on(aggregator: GradedAnswer, *responses: Response) -> Decision | None:
    """The decision with more recruits; None = the answers are enough."""
    step = aggregator.next(ASKED, responses)
    return step if isinstance(step, Decision) else None


def answer(aggregator: GradedAnswer, asked: QueryState, *responses: Response) -> Answer:
    step = aggregator.step(asked, responses)
    assert isinstance(step, Done)
    return step.answer


def test_the_best_expert_is_asked_alone_at_first() -> None:
    assert graded(PAYS).opened(ASKED, ASKED.decision or Decision(router="", recruits=())) == ASKED.decision


def test_an_answer_of_usual_length_is_the_answer() -> None:
    aggregator = graded(PAYS)
    assert asked_on(aggregator, writes("best", LONG)) is None
    given = answer(aggregator, ASKED, writes("best", LONG))
    assert (given.text, given.answered_by, given.confidence) == (LONG, "best", None)
    assert "not brief for it" in given.notes[-1]


def test_its_grade_to_expect_is_that_of_such_answers() -> None:
    grade = answer(graded(PAYS), ASKED, writes("best", LONG)).expected_grade
    assert grade is not None
    assert grade.low < grade.mean < grade.high
    assert (grade.mean, grade.source) == (pytest.approx(0.9, abs=0.02), "rubric")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (writes("best", BRIEF), "brief for it"),
        (writes("best", LONG, cut=True), "cut off"),
        (writes("best", ""), "nobody has answered"),
        (writes("best", "<think>Rome?</think>"), "nobody has answered"),
    ],
)
def test_two_others_are_asked_at_once_where_it_is_brief_cut_off_or_empty(said: Response, why: str) -> None:
    decision = asked_on(graded(PAYS), said)
    assert decision is not None
    assert decision.expert_ids == ("best", "second", "third")
    assert all(why in (recruit.note or "") for recruit in decision.recruits[1:])


def test_thinking_does_not_make_an_answer_long() -> None:
    assert asked_on(graded(PAYS), writes("best", f"<think>{LONG}</think>{BRIEF}")) is not None


def test_of_three_answers_the_one_is_taken_whose_text_should_be_graded_best() -> None:
    given = answer(graded(PAYS), ALL, writes("best", BRIEF), writes("second", LONG), writes("third", OTHER))
    assert given.answered_by == "second"
    assert "chosen of 3 answers by the signs of their texts" in given.notes[-1]
    assert set(given.extras["graded"]["signs"]) == {"best", "second", "third"}  # type: ignore[index,call-overload,arg-type]
    assert given.expected_grade is not None
    assert given.expected_grade.mean == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize(
    "others", [[], [fails("second"), writes("third", " ")], [fails("second"), fails("third")]]
)
def test_a_brief_answer_that_nobody_else_gave_one_beside_is_taken_and_said(others: list[Response]) -> None:
    given = answer(graded(PAYS), ALL, writes("best", BRIEF), *others)
    assert (given.answered_by, given.expected_grade) == ("best", None)
    assert "nobody else answered, although its 9 characters are brief for it" in given.notes[-1]


def test_nobody_is_asked_twice_on() -> None:
    step = graded(PAYS).next(
        state("best", "second", reserves=("third",)), [writes("best", BRIEF), writes("second", BRIEF)]
    )
    assert isinstance(step, Done)


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        (PAYS_NOT, "asking more gained nothing inside the profile"),
        (TOO_FEW, "60 questions, and 100 are needed"),
        (None, "no profile of 100 graded answers is kept here"),
    ],
)
def test_where_asking_on_did_not_pay_the_best_expert_answers_whatever_it_says(
    profile: Profile | None, why: str
) -> None:
    aggregator = graded(profile)
    for said in (writes("best", BRIEF), writes("best", LONG, cut=True)):
        assert asked_on(aggregator, said) is None
        assert why in answer(aggregator, ASKED, said).notes[-1]
    assert aggregator.quotes_one


def test_an_empty_answer_is_nobodys_even_where_nothing_was_learnt() -> None:
    assert asked_on(graded(None), writes("best", "")) is not None


def test_what_may_yet_be_chosen_against_is_not_heard_while_it_is_written() -> None:
    assert not graded(PAYS).quotes_one


def test_without_any_words_there_is_no_answer() -> None:
    assert answer(graded(PAYS), ALL, fails("best"), writes("second", " ")).error_code == "no_answer"


def test_the_order_of_responses_does_not_matter() -> None:
    said = [writes("best", BRIEF), writes("second", LONG), writes("third", LONG)]
    assert answer(graded(PAYS), ALL, *said) == answer(graded(PAYS), ALL, *reversed(said))


def test_an_expert_that_the_profile_does_not_know_is_neither_brief_nor_left_out() -> None:
    aggregator = graded(PAYS)
    assert asked_on(aggregator, writes("stranger", BRIEF)) is None
    given = answer(aggregator, state("best", "stranger"), writes("best", BRIEF), writes("stranger", LONG))
    assert given.answered_by == "stranger"


def test_the_longest_and_any_are_there_to_be_compared_with() -> None:
    said = [writes("best", BRIEF), writes("second", OTHER), writes("third", LONG)]
    assert answer(graded(PAYS, choose="longest"), ALL, *said).text == OTHER
    drawn = {answer(graded(PAYS, choose="random"), ALL, *said).answered_by for _ in range(3)}
    assert len(drawn) == 1


def test_unguarded_the_signs_choose_whatever_they_gained() -> None:
    said = [writes("best", BRIEF), writes("second", LONG), writes("third", LONG)]
    assert "signs" in answer(graded(PAYS_NOT, guarded=False), ALL, *said).notes[-1]
