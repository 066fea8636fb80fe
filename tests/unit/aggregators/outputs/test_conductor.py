from collections.abc import Callable

import pytest

from aggregators.outputs import make_aggregator
from aggregators.outputs.conductor import Instruction, Move, read_move, strengths
from orchestrator.domain.answers import Recruit, SkillEvidence
from orchestrator.domain.assignments import Call, CallRole
from orchestrator.domain.posteriors import Interval
from tests.fakes.ballots import Talk, context, expert, says, state

ACCURACIES = {"a": 0.8, "b": 0.6}
POOL = context([expert("a"), expert("b"), expert("scribe", aggregates=True)])
SPLIT = [says("a", "A"), says("b", "B")]


def talk(says_what: Callable[[Call], str | None], **options: object) -> Talk:
    aggregator = make_aggregator("conductor", POOL, options)  # type: ignore[arg-type]
    return Talk(aggregator, state(ACCURACIES), SPLIT, says_what)


def asks_once(call: Call) -> str:
    """Asks the second expert, and ends with what it hears."""
    if call.role is CallRole.DISCUSS:
        return "secret word: swordfish"
    return "FINAL\nanswer: B" if "swordfish" in call.messages[-1].content else "ASK 2: Is it green?"


@pytest.mark.parametrize(
    ("text", "move"),
    [
        ("ASK 2: Is 7 prime?", Move(None, (Instruction(2, "Is 7 prime?"),))),
        ("Well.\nASK 1: x\nASK 2: y", Move(None, (Instruction(1, "x"), Instruction(2, "y")))),
        ("**FINAL:** answer: A", Move("answer: A", ())),
        ("FINAL\nno\nFINAL\nanswer: C", Move("answer: C", ())),
        ("ASK 1: x\nFINAL\nanswer: A", Move("answer: A", ())),
        ("I shall ASK 1: now", Move(None, ())),
        ("", Move(None, ())),
    ],
)
def test_moves_are_read_line_by_line(text: str, move: Move) -> None:
    assert read_move(text) == move


def test_an_expert_sees_its_instruction_and_nothing_else() -> None:
    said = talk(asks_once)
    lead, consult, end = said.asked
    assert [(call.expert_id, call.role) for call in consult] == [("b", CallRole.DISCUSS)]
    assert [message.content for message in consult[0].messages] == ["Is it green?"]
    assert {call.sampling.temperature for calls in said.asked for call in calls} == {0.1}
    assert "answer: A" in lead[0].messages[-1].content
    assert "You told expert 2: Is it green?" in end[0].messages[-1].content
    assert said.answer.value == "B"
    assert said.answer.answered_by is None
    assert said.answer.extras["conductor"] == {"model": "scribe", "rounds": 2}


def test_the_last_round_is_announced_and_a_conductor_that_goes_on_is_not_waited_for() -> None:
    said = talk(lambda call: "ASK 1: and now?" if call.role is CallRole.AGGREGATE else "more")
    led = [calls[0] for calls in said.asked if calls[0].role is CallRole.AGGREGATE]
    assert len(led) == 15
    announced = ["This is the last round" in call.messages[-1].content for call in led]
    assert announced == [False] * 14 + [True]
    assert "15 rounds are left" in led[0].messages[-1].content
    assert (said.answer.value, said.answer.degraded) == ("A", True)
    assert said.answer.notes == ("conductor scribe did not end in time: decided by weighted vote",)


def test_nobody_may_lead_for_more_than_fifteen_rounds() -> None:
    with pytest.raises(Exception, match="rounds"):
        talk(asks_once, rounds=16)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (None, "failed (engine_crashed)"),
        ("Let us see.", "gave no readable answer"),
        ("FINAL", "gave no readable answer"),
        ("ASK 9: anybody?", "asked nobody who is there"),
    ],
)
def test_a_conductor_that_fails_leaves_it_to_the_vote(words: str | None, why: str) -> None:
    answer = talk(lambda _: words).answer
    assert (answer.value, answer.degraded) == ("A", True)
    assert answer.notes == (f"conductor scribe {why}: decided by weighted vote",)


def test_an_answer_without_the_form_is_the_answer() -> None:
    assert talk(lambda _: "answer: B").answer.value == "B"


def test_an_expert_that_fails_has_no_reply() -> None:
    def reply(call: Call) -> str | None:
        if call.role is CallRole.DISCUSS:
            return None
        return "FINAL answer: A" if "(no reply)" in call.messages[-1].content else "ASK 1: x\nASK 7: y"

    said = talk(reply)
    assert "(there is no such expert)" in said.asked[-1][0].messages[-1].content
    assert said.answer.value == "A"
    assert said.answer.notes == ("not heard: a (engine_crashed)",)


def test_a_tiny_conductor_is_shown_the_question_and_the_answers() -> None:
    tiny = context([expert("a"), expert("tiny", aggregates=True, style="compact")])
    said = Talk(make_aggregator("conductor", tiny), state(ACCURACIES), SPLIT, lambda _: "answer: B")
    assert said.asked[0][0].messages[-1].content.splitlines()[-3:] == [
        "Candidates:",
        "1) answer: A",
        "2) answer: B",
    ]
    assert said.answer.value == "B"


def test_experts_are_known_by_their_skills_not_their_names() -> None:
    proof = SkillEvidence(skill="sort", weight=1, score=1, n=9, accuracy=0.9, interval=Interval(0.8, 1))
    recruit = Recruit(expert_id="Qwen", weight=1, score=1, accuracy=0.7, evidence=(proof,))
    assert strengths(recruit) == "sort 90%"
    assert strengths(recruit.model_copy(update={"evidence": ()})) == "right on 70% of such questions"
    assert strengths(None) == "nothing is known of it"
