import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregators.outputs import make_aggregator
from aggregators.outputs.stability import Views, agreement_of, moments_of, most_stable, on_simplex
from orchestrator.domain.assignments import Ask, Call, CallRole, Done
from orchestrator.ports.composing import BatchAggregator, InFlight
from tests.fakes.ballots import FOUR, OPEN, Talk, context, expert, reply, says, state
from tests.fakes.decks import card, tally

POOL = context([expert("a"), expert("b"), expert("c")])
points = st.lists(st.floats(-5, 5), min_size=1, max_size=6).map(np.array)


@given(points)
def test_a_point_is_projected_onto_the_simplex(point: np.ndarray) -> None:
    weights = on_simplex(point)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert on_simplex(weights) == pytest.approx(weights)
    assert (np.diff(weights[np.argsort(point)]) >= -1e-9).all()


def test_projections_by_hand() -> None:
    assert on_simplex(np.array([0.9, 0.5])) == pytest.approx([0.7, 0.3])
    assert on_simplex(np.array([2.0, 0.5])) == pytest.approx([1, 0])


@settings(max_examples=50)
@given(st.integers(1, 5), st.integers(0, 10_000), st.floats(0.01, 10))
def test_the_agreement_never_falls(n: int, seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    moments, weights = rng.random((n, n)), np.full(n, 1 / n)
    values = [agreement_of(most_stable(weights, moments, steps=k, rate=rate), moments) for k in range(6)]
    assert all(after >= before - 1e-12 for before, after in itertools.pairwise(values))


def test_moments_count_who_agrees_with_whom_in_the_other_view() -> None:
    """a agrees with itself once in two, with b once in one."""
    views = [
        Views({"a": "A", "b": None}, {"a": "A", "b": "A"}),
        Views({"a": "B"}, {"a": "C"}),
    ]
    assert moments_of(views, ["a", "b", "c"]).tolist() == [[0.5, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_equal_experts_keep_equal_weights() -> None:
    assert most_stable(np.array([0.5, 0.5]), np.ones((2, 2))) == pytest.approx([0.5, 0.5])


def option(call: Call, wanted: str) -> str:
    lines = call.messages[-1].content.splitlines()
    return "answer: " + next(line[0] for line in lines if line.endswith(f") {wanted}"))


def steadfast(call: Call) -> str:
    """a and b keep to their options, green and red; c to the first place, whatever stands there."""
    return {"a": option(call, "green"), "b": option(call, "red"), "c": "answer: A"}[call.expert_id]


SPLIT = [says("a", "B"), says("b", "A"), says("c", "A")]
EQUAL = {"a": 0.5, "b": 0.5, "c": 0.5}


def test_every_recruit_is_asked_again_under_another_order_of_the_options() -> None:
    talk = Talk(make_aggregator("stability", POOL), state(EQUAL), SPLIT, steadfast)
    [calls] = talk.asked
    assert [(call.expert_id, call.role) for call in calls] == [(e, CallRole.SAMPLE) for e in "abc"]
    assert len({call.messages for call in calls}) == 1
    assert "0 questions" not in str(talk.answer.notes)
    told = talk.answer.extras["stability"]
    assert told == {"questions": 0, "unlearnt": "no other question was stepped with it"}


def test_a_question_without_options_is_asked_at_another_temperature() -> None:
    responses = [says("a", "7"), says("b", "8")]
    talk = Talk(
        make_aggregator("stability", POOL), state(EQUAL, query=OPEN), responses, lambda _: "answer: 7"
    )
    assert {call.sampling.temperature for call in talk.asked[0]} == {0.7}
    assert talk.answer.value == "7"


def test_alone_the_cards_decide() -> None:
    """a has 9 of 10, the others 1 of 10 each: .75 + .75 against .19 · 3 or 4."""
    cards = {e: card(e, {"x": tally(n, 10 - n)}) for e, n in (("a", 9), ("b", 1), ("c", 1))}
    talk = Talk(make_aggregator("stability", POOL._replace(cards=cards)), state(EQUAL), SPLIT, steadfast)
    assert talk.answer.value == "B"


def batch_of(n: int) -> list[InFlight]:
    """a and b agree on every second question, c contradicts them and itself."""
    aggregator, batch = make_aggregator("stability", POOL), []
    for number in range(n):
        query = FOUR.replaced(id=str(number), question=f"Which of {number}?")
        asked = state(EQUAL, query=query)
        responses = [says("a", "B"), says("b", "B" if number % 2 else "D"), says("c", "A")]
        step = aggregator.step(asked, responses)
        assert isinstance(step, Ask)
        words = {
            "a": lambda call: option(call, "green"),
            "b": lambda call, number=number: option(call, "green" if number % 2 else "grey"),
            "c": lambda call: "answer: A",
        }
        replies = [reply(call, words[call.expert_id](call)) for call in step.calls]
        update = {"id": number, "responses": (*responses, *replies)}
        batch.append((asked.model_copy(update=update), responses))
    return batch


def test_in_a_batch_whoever_contradicts_itself_loses_its_weight() -> None:
    batch, aggregator = batch_of(20), make_aggregator("stability", POOL)
    assert isinstance(aggregator, BatchAggregator)
    steps = [aggregator.learn(batch).step(*one) for one in batch]
    told = next(step.answer.extras["stability"] for step in steps if isinstance(step, Done))
    assert isinstance(told, dict)
    weights, agreement = told["weights"], told["agreement"]
    assert isinstance(weights, dict)
    assert isinstance(agreement, list)
    assert weights["c"] < 1 / 3
    assert agreement[0] < agreement[1]
    assert told["questions"] == 20


def test_few_questions_teach_nothing() -> None:
    batch, aggregator = batch_of(5), make_aggregator("stability", POOL)
    assert isinstance(aggregator, BatchAggregator)
    step = aggregator.learn(batch).step(*batch[0])
    assert isinstance(step, Done)
    assert step.answer.extras["stability"] == {
        "questions": 5,
        "unlearnt": "5 questions had two views, 10 are needed",
    }


def test_the_order_of_the_batch_does_not_matter() -> None:
    batch, aggregator = batch_of(12), make_aggregator("stability", POOL)
    assert isinstance(aggregator, BatchAggregator)
    shuffled = random.Random(1).sample(batch, len(batch))
    assert [aggregator.learn(batch).step(*one) for one in batch] == [
        aggregator.learn(shuffled).step(*one) for one in batch
    ]
