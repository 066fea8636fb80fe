from collections.abc import Callable, Sequence

import pytest

from aggregators.outputs import make_aggregator
from orchestrator.domain.assignments import Call, CallRole, Response
from orchestrator.errors import ConfigError
from tests.fakes.ballots import Talk, context, expert, says, state

ACCURACIES = {"a": 0.8, "b": 0.6, "c": 0.5}
POOL = context([*(expert(name) for name in "abc"), expert("scribe", aggregates=True)])
SPLIT = [says("a", "A"), says("b", "B"), says("c", "C")]


def talk(
    says_what: Callable[[Call], str | None], responses: Sequence[Response] = SPLIT, **options: object
) -> Talk:
    aggregator = make_aggregator("debate", POOL, options)  # type: ignore[arg-type]
    return Talk(aggregator, state(ACCURACIES), responses, says_what)


def believes(value: str) -> Callable[[Call], str]:
    """A judge that finds the case for one answer the better; advocates sign their turns."""

    def reply(call: Call) -> str:
        if call.role is CallRole.DISCUSS:
            return f"turn of {call.expert_id}"
        first = call.messages[-1].content.split("[candidate 1 ")[1].split("answer: ")[1][0]
        return f"Better: {1 if first == value else 2}"

    return reply


def test_the_two_leading_answers_have_advocates_and_the_judge_hears_both_orders() -> None:
    said = talk(believes("B"))
    first, second, judged = said.asked
    assert [call.expert_id for call in first] == [call.expert_id for call in second] == ["a", "b"]
    assert [call.expert_id for call in judged] == ["scribe", "scribe"]
    assert said.answer.value == "B"
    assert said.answer.extras["debate"] == {
        "protocol": "judged",
        "rounds": 2,
        "sides": ["A", "B"],
        "verdicts": [-1, 1],
    }
    assert said.answer.usage_by_role.keys() == {"expert", "discuss", "judge"}


def test_turns_are_simultaneous_and_fenced() -> None:
    """Nobody has heard anything in the first round; in the second both have heard both."""
    first, second, judged = talk(believes("A")).asked
    assert all("The debate so far" not in call.messages[-1].content for call in first)
    for call in second:
        assert "turn of a\n[end of turn 1 " in call.messages[-1].content
        assert "turn of b\n[end of turn 2 " in call.messages[-1].content
    cases = [call.messages[-1].content for call in judged]
    assert cases[0].index("turn of a") < cases[0].index("turn of b")
    assert cases[1].index("turn of b") < cases[1].index("turn of a")


@pytest.mark.parametrize("words", ["Better: 1", "Better: 2", "both"])
def test_a_judge_that_goes_by_the_order_does_not_decide(words: str) -> None:
    answer = talk(lambda _: words).answer
    assert answer.value == "A"
    assert answer.notes == ("the judge did not decide: decided by weighted vote",)
    assert answer.degraded == (words == "both")


def test_whoever_answered_does_not_judge() -> None:
    judges = context([expert(name, aggregates=True) for name in "ab"])
    said = Talk(make_aggregator("debate", judges), state(ACCURACIES), SPLIT[:2], believes("B"))
    assert said.asked == []
    assert said.answer.notes == ("nobody may judge who has not answered: decided by weighted vote",)
    assert said.answer.degraded


def test_an_advocate_that_fails_leaves_its_answer_to_speak() -> None:
    said = talk(lambda call: None if call.expert_id == "b" else believes("B")(call))
    assert said.answer.value == "B"
    assert said.answer.notes == ("not heard: b (engine_crashed)",)


def test_agents_see_the_others_last_answers_and_vote_at_the_end() -> None:
    said = talk(
        lambda call: f"answer: {'C' if call.expert_id == 'b' else call.expert_id.upper()}", protocol="mutual"
    )
    [calls] = said.asked
    assert [call.expert_id for call in calls] == ["a", "b", "c"]
    content = calls[0].messages[-1].content
    assert "answer: A" in content.split("Answers of others")[0]
    assert "answer: A" not in content.split("Answers of others")[1].split("Hold them")[0]
    assert said.answer.value == "C"
    assert [vote.value for vote in said.answer.votes] == ["A", "C", "C"]


def test_rounds_of_a_mutual_debate_count_the_first_answers_and_end_where_all_agree() -> None:
    assert talk(lambda _: "answer: B", protocol="mutual", rounds=1).asked == []
    assert len(talk(lambda call: f"answer: {call.expert_id}", protocol="mutual", rounds=4).asked) == 3
    assert len(talk(lambda _: "answer: B", protocol="mutual", rounds=4).asked) == 1


def test_an_agent_that_cannot_be_read_keeps_its_answer() -> None:
    said = talk(lambda call: "hm" if call.expert_id == "a" else "answer: B", protocol="mutual", rounds=3)
    assert said.answer.value == "B"
    assert [vote.value for vote in said.answer.votes] == ["A", "B", "B"]


def test_agents_need_no_judge_and_a_judged_debate_does() -> None:
    pool = context([expert("a"), expert("b")])
    assert make_aggregator("debate", pool, {"protocol": "mutual"})
    with pytest.raises(ConfigError, match="aggregator 'debate' needs a member"):
        make_aggregator("debate", pool)
    with pytest.raises(ConfigError, match="protocol"):
        make_aggregator("debate", pool, {"protocol": "open"})
