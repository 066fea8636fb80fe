import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregators.outputs import make_aggregator
from aggregators.outputs.asking import Shown, both_orders
from aggregators.outputs.ranker import wins
from orchestrator.domain.assignments import Call, CallRole
from orchestrator.errors import ConfigError
from tests.fakes.ballots import Talk, context, expert, says, state

ACCURACIES = {"a": 0.8, "b": 0.6, "c": 0.6}
THREE = [says("a", "A"), says("b", "B"), says("c", "C")]


def first_of(call: Call) -> str:
    return call.messages[-1].content.split("[candidate 1 ")[1].split("answer: ")[1][0]


def second_of(call: Call) -> str:
    return call.messages[-1].content.split("[candidate 2 ")[1].split("answer: ")[1][0]


def alphabetical(call: Call) -> str:
    """The later letter is better."""
    return f"Better: {1 if first_of(call) > second_of(call) else 2}"


def test_wins_are_counted_over_ordered_pairs() -> None:
    assert wins(3, {Shown(0, 1): 1, Shown(1, 0): -1, Shown(1, 2): 0, Shown(2, 0): 1}) == [2, 0, 1]


@given(st.lists(st.sampled_from([1, 0, -1]), min_size=6, max_size=6))
def test_renaming_the_candidates_renames_their_wins(verdicts: list[int]) -> None:
    found = dict(zip(both_orders(3), verdicts, strict=True))
    renamed = {Shown(2 - shown.first, 2 - shown.second): verdict for shown, verdict in found.items()}
    assert wins(3, renamed) == wins(3, found)[::-1]


def test_every_pair_is_compared_in_both_orders_and_most_wins_win() -> None:
    talk = Talk(make_aggregator("ranker", context()), state(ACCURACIES), THREE, alphabetical)
    [calls] = talk.asked
    assert len(calls) == 6
    assert {call.role for call in calls} == {CallRole.JUDGE}
    assert talk.answer.value == "C"
    assert talk.answer.extras["ranker"] == {
        "model": "scribe",
        "wins": {"A": 0, "B": 2, "C": 4},
        "comparisons": {"asked": 6, "read": 6},
    }


def test_a_ranker_that_takes_the_first_shown_leaves_it_to_the_cards() -> None:
    answer = Talk(
        make_aggregator("ranker", context()), state(ACCURACIES), THREE, lambda _: "Better: 1"
    ).answer
    assert (answer.value, answer.degraded) == ("A", False)


def test_without_a_readable_comparison_the_vote_decides() -> None:
    answer = Talk(make_aggregator("ranker", context()), state(ACCURACIES), THREE, lambda _: "?").answer
    assert (answer.value, answer.degraded) == ("A", True)


def test_a_tiny_model_ranks_by_stating_the_answer() -> None:
    tiny = context([expert("tiny", aggregates=True, style="compact")])
    answer = Talk(make_aggregator("ranker", tiny), state(ACCURACIES), THREE, lambda _: "answer: C").answer
    assert answer.value == "C"


@pytest.mark.parametrize("temperature", [-0.1, 2.1, float("nan"), float("inf")])
def test_a_temperature_that_no_model_takes_is_refused_when_it_is_read(temperature: float) -> None:
    with pytest.raises(ConfigError, match="temperature"):
        make_aggregator("ranker", context(), {"temperature": temperature})
