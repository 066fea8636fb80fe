import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregators.outputs import make_aggregator
from aggregators.outputs.label_model import (
    agreement,
    binarised,
    dawid_skene,
    informative,
    min_max,
    objective,
    posterior,
    reliabilities,
)
from aggregators.outputs.weak_verifiers import WeakVerifiersOptions, class_balance, read_score, verified
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Ask, Call, Done
from orchestrator.errors import UnknownNameError
from orchestrator.ports.composing import BatchAggregator, InFlight
from tests.fakes.ballots import FOUR, Talk, context, expert, reply, says, state
from tests.fakes.decks import card, profile, tally

ACCURACIES = {"a": 0.8, "b": 0.6}
TWO = [says("a", "A"), says("b", "B")]
THREE_VERIFIERS = context([expert(name, aggregates=True) for name in ("v1", "v2", "v3")])
NAN = float("nan")


def test_the_hand_worked_case() -> None:
    """M12 .48, M13 .32, M23 .24 -> .8, .6, .4."""
    moments = [[1, 0.48, 0.32], [0.48, 1, 0.24], [0.32, 0.24, 1]]
    assert reliabilities(moments) == pytest.approx([0.8, 0.6, 0.4])


@given(st.lists(st.floats(0.05, 0.95), min_size=3, max_size=7))
def test_exact_moments_give_back_the_reliabilities(trust: list[float]) -> None:
    assert reliabilities(np.outer(trust, trust)) == pytest.approx(trust)


def test_verifiers_that_disagree_are_trusted_little_and_never_negatively() -> None:
    assert reliabilities(-0.5 * np.ones((3, 3))) == [0.01] * 3
    assert reliabilities(np.ones((3, 3))) == [0.99] * 3
    assert reliabilities(np.zeros((3, 3))) == [0.01] * 3


def test_scores_are_scaled_per_verifier_over_the_batch() -> None:
    scaled = min_max(np.array([[2.0, 7.0, NAN], [4.0, 7.0, NAN], [10.0, NAN, NAN]]))
    assert np.array_equal(scaled[:, :2], [[0, 0.5], [0.25, 0.5], [1, NAN]], equal_nan=True)
    assert np.isnan(scaled[:, 2]).all()


def test_votes_are_yes_from_the_threshold_on() -> None:
    assert binarised(np.array([[0.5, 0.49, NAN]]), 0.5).tolist() == [[1, -1, 0]]


def test_verifiers_that_always_or_never_say_yes_are_dropped() -> None:
    yes, no, some = np.ones(20), -np.ones(20), np.repeat([1.0, -1.0], 10)
    rare = np.array([1.0] + [-1.0] * 19)  # 5 %
    silent = np.zeros(20)
    assert informative(np.stack([yes, no, some, rare, silent], axis=1)).tolist() == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_agreement_is_over_what_both_voted_on() -> None:
    votes = np.array([[1.0, 1, 0], [1, -1, 0], [-1, 0, 0]])
    assert np.array_equal(agreement(votes), [[1, 0, NAN], [0, 1, NAN], [NAN, NAN, NAN]], equal_nan=True)


def test_objectives_by_hand() -> None:
    """Mean .4, variance .04."""
    assert objective([0.2, 0.6], "mean") == pytest.approx(0.4)
    assert objective([0.2, 0.6], "wco") == 0.2
    assert objective([0.2, 0.6], "uwo") == pytest.approx(0.38)
    assert objective([0.2, 0.6], "uwo", penalty=2) == pytest.approx(0.32)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_worst_is_below_uncertain_mean_is_below_mean(scores: list[float]) -> None:
    worst, uncertain, mean = (objective(scores, kind) for kind in ("wco", "uwo", "mean"))  # type: ignore[arg-type]
    assert worst <= mean + 1e-12
    assert uncertain <= mean + 1e-12


def test_posterior_by_hand() -> None:
    """Balanced classes, a = .6 and .8: 4 · 9 = 36 to 1 for two yes; 9 to 4 for a no and a yes."""
    assert posterior([1, 1], [0.6, 0.8], 0.5) == pytest.approx(36 / 37)
    assert posterior([-1, 1], [0.6, 0.8], 0.5) == pytest.approx(9 / 13)
    assert posterior([0, 0], [0.6, 0.8], 0.3) == pytest.approx(0.3)


def draw(trust: list[float], n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.5, 1, -1)
    keep = rng.random((n, len(trust))) < (1 + np.array(trust)) / 2
    return np.where(keep, y[:, None], -y[:, None]).astype(float), y


def test_both_label_models_find_who_can_be_trusted() -> None:
    votes, y = draw([0.8, 0.6, 0.2, 0.4], 4000, seed=1)
    assert reliabilities(agreement(votes)) == pytest.approx([0.8, 0.6, 0.2, 0.4], abs=0.06)
    right = (dawid_skene(votes, 0.5) > 0.5) == (y > 0)
    majority = (votes.sum(axis=1) > 0) == (y > 0)
    assert right.mean() > majority.mean()


@settings(max_examples=30)
@given(st.randoms(use_true_random=False))
def test_the_order_of_items_and_verifiers_does_not_matter(shuffle: random.Random) -> None:
    votes, _ = draw([0.8, 0.6, 0.4], 60, seed=3)
    scores = np.where(votes > 0, 9.0, 2.0)
    rows, columns = list(range(60)), [0, 1, 2]
    shuffle.shuffle(rows)
    shuffle.shuffle(columns)
    for trust in ("label_model", "dawid_skene"):
        options = WeakVerifiersOptions(trust=trust)
        plain = verified(scores, options, balance=0.4)
        shuffled = verified(scores[rows][:, columns], options, balance=0.4)
        assert shuffled.probability == pytest.approx(plain.probability[rows])
        assert [shuffled.trust[columns.index(i)] for i in range(3)] == pytest.approx(list(plain.trust))


def test_fewer_than_three_verifiers_and_few_items_are_unweighted() -> None:
    votes, _ = draw([0.8, 0.6, 0.4], 60, seed=3)
    two = verified(votes[:, :2], WeakVerifiersOptions(), balance=0.5)
    assert two.trust == ()
    assert two.why == "2 verifiers told answers apart, 3 are needed"
    assert verified(votes[:9], WeakVerifiersOptions(), balance=0.5).why.startswith("9 answers")
    assert verified(votes, WeakVerifiersOptions(objective="wco"), balance=0.5).why == "not asked for"


@pytest.mark.parametrize(
    ("text", "score"),
    [("Score: 7", 7), ("score: 3\nScore: 8.5/10", 8.5), ("Score: 11", None), ("seven", None), ("", None)],
)
def test_the_last_score_is_read(text: str, score: float | None) -> None:
    assert read_score(text) == score


def test_the_class_balance_is_the_profiles() -> None:
    known = profile({"a": [1, 0, 1, -2], "b": [1, -1, 0, -2]}, [[1.0, 0.0]] * 4)
    assert class_balance(context()._replace(profile=known)) == 0.5
    cards = {"a": card("a", {"x": tally(3, 1)}), "b": card("b", {"x": tally(3, 3)})}
    assert class_balance(context(cards=cards)) == 0.6
    assert class_balance(context()) == 0.5


def shown(call: Call) -> str:
    return call.messages[-1].content.split("[candidate 1 ")[1].split("answer: ")[1][0]


def scores_b(call: Call) -> str:
    return f"Score: {9 if shown(call) == 'B' else 3}"


def test_every_verifier_checks_every_different_answer() -> None:
    talk = Talk(make_aggregator("weak_verifiers", THREE_VERIFIERS), state(ACCURACIES), TWO, scores_b)
    [calls] = talk.asked
    assert sorted((call.expert_id, shown(call)) for call in calls) == [
        (name, value) for name in ("v1", "v2", "v3") for value in "AB"
    ]
    assert talk.answer.value == "B"
    told = talk.answer.extras["weak_verifiers"]
    assert isinstance(told, dict)
    assert told["scores"] == {"A": 0.0, "B": 1.0}
    assert told["unweighted"] == "2 answers were verified together, 20 are needed"
    assert told["class_balance"] == 0.5


def test_without_a_readable_score_the_vote_decides() -> None:
    answer = Talk(
        make_aggregator("weak_verifiers", THREE_VERIFIERS), state(ACCURACIES), TWO, lambda _: "?"
    ).answer
    assert (answer.value, answer.degraded) == ("A", True)


def test_a_member_that_is_named_verifies_and_a_stranger_is_refused() -> None:
    ctx = context([expert("a"), expert("b")])
    named = make_aggregator("weak_verifiers", ctx, {"verifiers": ["b"]})
    assert {call.expert_id for call in Talk(named, state(ACCURACIES), TWO, scores_b).asked[0]} == {"b"}
    with pytest.raises(UnknownNameError, match="unknown expert 'nobody'"):
        make_aggregator("weak_verifiers", ctx, {"verifiers": ["nobody"]})


def test_a_tiny_verifier_says_yes_by_giving_the_same_answer() -> None:
    tiny = context([expert("tiny", aggregates=True, style="compact")])
    talk = Talk(make_aggregator("weak_verifiers", tiny), state(ACCURACIES), TWO, lambda _: "answer: B")
    assert talk.answer.value == "B"


def batch_of(ctx: AggregatorContext, n: int) -> list[InFlight]:
    """B is right; v1 and v2 err in one query of ten, v3 in four."""
    rng = random.Random(1)
    aggregator = make_aggregator("weak_verifiers", ctx)
    batch = []
    for number in range(n):
        query = FOUR.replaced(id=str(number), question=f"Which of {number}?")
        asked = state(ACCURACIES, query=query)
        step = aggregator.step(asked, TWO)
        assert isinstance(step, Ask)

        errs = {name: rng.random() < p for name, p in (("v1", 0.1), ("v2", 0.1), ("v3", 0.4))}
        replies = [
            reply(call, f"Score: {9 if (shown(call) == 'B') != errs[call.expert_id] else 2}")
            for call in step.calls
        ]
        update = {"id": number, "responses": (*TWO, *replies)}
        batch.append((asked.model_copy(update=update), TWO))
    return batch


def test_in_a_batch_trust_is_learnt_from_agreement() -> None:
    batch = batch_of(THREE_VERIFIERS, 40)
    aggregator = make_aggregator("weak_verifiers", THREE_VERIFIERS)
    assert isinstance(aggregator, BatchAggregator)
    steps = [aggregator.learn(batch).step(*one) for one in batch]
    answers = [step.answer for step in steps if isinstance(step, Done)]
    told = answers[0].extras["weak_verifiers"]
    assert isinstance(told, dict)
    assert isinstance(told["trust"], dict)
    assert told["items"] == 80
    assert told["trust"]["v3"] < 0.5 < told["trust"]["v1"]
    assert sum(answer.value == "B" for answer in answers) >= 32


def test_the_order_of_the_batch_does_not_matter() -> None:
    batch = batch_of(THREE_VERIFIERS, 30)
    aggregator = make_aggregator("weak_verifiers", THREE_VERIFIERS)
    assert isinstance(aggregator, BatchAggregator)
    assert [aggregator.learn(batch).step(*one) for one in batch] == [
        aggregator.learn(batch[::-1]).step(*one) for one in batch
    ]
