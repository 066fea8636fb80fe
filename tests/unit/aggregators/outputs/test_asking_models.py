"""What aggregators that ask share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregators.outputs.asking import (
    Chair,
    better_of_two,
    both_orders,
    candidate_text,
    leading,
    rounds,
    shortened,
    stated,
    verdict_of,
)
from aggregators.outputs.votes import group_equivalent, read_ballots
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.errors import ConfigError
from tests.fakes.ballots import FOUR, context, expert, says, state, written
from tests.fakes.grader import FakeGrader


def test_both_orders_of_three() -> None:
    assert both_orders(3) == [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)]
    assert both_orders(1) == []


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Better: 1", 1),
        ("**Better: 2**", -1),
        ("better is tie", None),
        ("Better: 1, no, wait. Better: TIE", 0),
        ("Better: 12", None),
        ("", None),
    ],
)
def test_verdicts_are_read_where_the_reply_keeps_the_form(text: str, verdict: int | None) -> None:
    assert better_of_two(text) == verdict


def test_replies_come_by_step_and_place() -> None:
    def made(role: CallRole, stage: int, ix: int) -> Response:
        return Response(expert_id="s", role=role, stage=stage, sample_ix=ix)

    responses = [
        says("a", "A"),
        made(CallRole.JUDGE, 4, 1),
        made(CallRole.JUDGE, 4, 0),
        made(CallRole.SAMPLE, 2, 0),
    ]
    heard = rounds(state({"a": 0.5}, responses=responses))
    assert [list(one) for one in heard] == [[0], [0, 1]]
    assert len(rounds(state({"a": 0.5}, responses=responses), CallRole.JUDGE)) == 1


def test_the_answers_that_lead_the_vote_are_compared() -> None:
    """Log-odds of .8, .7 + .7 and .3 among four options: 2.48, 3.89 and 0.25."""
    accuracies = {"a": 0.8, "b": 0.7, "c": 0.7, "d": 0.3}
    said = [says("a", "A"), says("b", "B"), says("c", "B"), says("d", "C")]
    groups = group_equivalent(FakeGrader(), FOUR, read_ballots(FakeGrader(), state(accuracies), said))
    assert [group.value for group in leading(groups, FOUR, 2)] == ["B", "A"]
    assert [group.value for group in leading(groups, FOUR, 9)] == ["B", "A", "C"]


def test_long_texts_keep_their_end() -> None:
    [ballot] = read_ballots(FakeGrader(), state({"a": 0.5}), [says("a", "A", text="x" * 99 + "answer: A")])
    assert candidate_text(ballot, 9) == "[…] answer: A"


@given(st.text(max_size=50), st.integers(1, 60))
def test_short_texts_are_shown_as_they_are(text: str, budget: int) -> None:
    if len(text) <= budget:
        assert shortened(text, budget) == text
    else:
        assert shortened(text, budget).endswith(text[-budget:])


def test_the_answer_that_a_model_states_is_found_if_it_is_the_only_one() -> None:
    reply = written("scribe", "answer: b")
    assert stated(context(), FOUR, reply, ("A", "B")) == 1
    assert stated(context(), FOUR, reply, ("A", "C")) is None
    assert stated(context(), FOUR, reply, ("B", "b")) is None


def test_a_compact_model_says_which_is_better_by_stating_it() -> None:
    tiny = expert("tiny", style="compact")
    assert verdict_of(context(), tiny, FOUR, written("tiny", "answer: B"), ("A", "B")) == -1
    assert verdict_of(context(), tiny, FOUR, written("tiny", "Better: 1"), ("A", "B")) is None
    assert verdict_of(context(), expert("big"), FOUR, written("big", "Better: 1"), ("A", "B")) == 1


def test_a_pool_in_which_nobody_may_judge_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match="Give an expert the role 'aggregator'"):
        Chair("judge", context([expert("a")]))


def test_whoever_is_barred_does_not_judge() -> None:
    experts = [expert("one", aggregates=True), expert("two", aggregates=True)]
    chair = Chair("debate", context(experts))
    free = chair.choose_without(state({}), {"one"})
    assert free is not None
    assert free.id == "two"
    assert chair.choose_without(state({}), {"one", "two"}) is None
