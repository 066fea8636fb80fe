import random

import pytest

from orchestrator.domain.answers import Decision
from orchestrator.domain.cards import Tally
from orchestrator.domain.devices import Conditions
from orchestrator.domain.feedback import ALL_SKILLS, Decay, FeedbackCount, with_feedback
from orchestrator.errors import ConfigError
from orchestrator.routing import RouterContext, make_router
from orchestrator.routing.posterior import NEAR
from tests.fakes.decks import deck, profile, routing_input, tally

EAST, NORTH = (1.0, 0.0), (0.0, 1.0)
OUTCOMES = {"left": [1, 1, 0, 0], "right": [0, 0, 1, 1], "never": [0, 0, 0, 0]}
POOL = deck(
    {name: {"sums": tally(3, 1)} for name in OUTCOMES},
    profile=profile(OUTCOMES, [EAST, EAST, NORTH, NORTH]),
)


def recruit(embedding: tuple[float, float], **options: int) -> Decision:
    item = routing_input(embedding=embedding, skills={"sums": 0.7})
    (decision,) = make_router("posterior", POOL, dict(options)).recruit([item], rng=random.Random())
    return decision


def test_the_best_on_questions_like_this_one_goes_first_and_the_next_is_held_in_reserve() -> None:
    decision = recruit(EAST, k=2)
    assert decision.expert_ids == ("left",)
    assert [r.expert_id for r in decision.reserves] == ["right"]
    assert recruit(NORTH, k=2).expert_ids == ("right",)


def test_who_is_left_out_is_told_what_it_lacks() -> None:
    decision = recruit(EAST, k=2)
    assert decision.runner_up is not None
    assert decision.runner_up.expert_id == "never"
    assert decision.would_change is not None
    gap = decision.reserves[0].accuracy - decision.runner_up.accuracy
    assert decision.would_change == f"needs >= {gap:.2f} more on {NEAR}"


def test_reasons_name_the_neighbourhood_and_the_skills() -> None:
    decision = recruit(EAST, k=2)
    assert [e.skill for e in decision.recruits[0].evidence] == [NEAR, "sums"]
    assert [e.skill for e in decision.reserves[0].evidence] == ["sums"]


def order(pool: RouterContext, **options: float) -> list[str]:
    item = routing_input(embedding=EAST, skills={"sums": 1.0})
    (decision,) = make_router("posterior", pool, {"k": 3, **options}).recruit([item], rng=random.Random())
    return [r.expert_id for r in (*decision.recruits, *decision.reserves)]


def with_costs(**usd: float) -> RouterContext:
    """The pool with a price per call, seconds of a call ten times that, and an engine per expert."""
    cards = {
        name: card.replaced(cost_per_query=usd.get(name, 0.0), mean_latency_ms=1e4 * usd.get(name, 0.0))
        for name, card in POOL.cards.items()
    }
    return POOL._replace(cards=cards)


def test_equals_are_asked_in_the_order_of_their_overall_accuracy() -> None:
    better = POOL._replace(
        cards={**POOL.cards, "right": POOL.cards["right"].replaced(total=Tally(n_right=99, n_wrong=1))}
    )
    assert order(better, within=0.0)[0] == "left"
    assert order(better, within=1.0)[0] == "right"


def test_a_dear_expert_is_left_behind_once_money_counts() -> None:
    dear = with_costs(left=1.0)
    assert order(dear, within=0.0)[0] == "left"
    assert order(dear, within=0.0, usd_price=1.0)[-1] == "left"
    assert order(dear, within=0.0, second_price=0.1)[-1] == "left"


def test_an_engine_that_must_be_loaded_costs_its_seconds_and_the_decision_says_so() -> None:
    cold = POOL._replace(conditions=lambda: Conditions(cold_s={"left": 20.0}))
    assert order(cold, within=0.0)[0] == "left", "seconds have no price"
    assert order(cold, within=0.0, second_price=0.1)[-1] == "left"
    item = routing_input(embedding=EAST)
    (decision,) = make_router("posterior", cold, {"second_price": 0.1}).recruit([item], rng=random.Random())
    assert "loading 'left' takes 20.0 s" in decision.notes
    (left,) = [r for r in decision.reserves if r.expert_id == "left"]
    assert left.score == pytest.approx(left.accuracy - 2.0)


def test_who_errs_like_the_best_one_comes_behind_who_errs_otherwise() -> None:
    outcomes = {"best": [1, 1, 1, 0], "twin": [1, 1, 0, 0], "other": [0, 0, 1, 1]}
    pool = deck({name: {"sums": tally(2, 2)} for name in outcomes}, profile=profile(outcomes, [EAST] * 4))
    assert order(pool, within=0.0, alike=0.0) == ["best", "twin", "other"]
    assert order(pool, within=0.0, alike=1.0) == ["best", "other", "twin"]


def judged(expert_id: str, skill: str, says: Tally) -> RouterContext:
    """The pool after users judged answers of one expert that needed one skill."""
    counts = [FeedbackCount(expert_id, name, 0, says) for name in (ALL_SKILLS, skill)]
    card = with_feedback(POOL.cards[expert_id], counts, Decay(30, 0))
    return POOL._replace(cards={**POOL.cards, expert_id: card})


def accuracies(pool: RouterContext, skill: str) -> dict[str, float]:
    item = routing_input(embedding=EAST, skills={skill: 1.0})
    (decision,) = make_router("posterior", pool, {"k": 3}).recruit([item], rng=random.Random())
    return {r.expert_id: r.accuracy for r in (*decision.recruits, *decision.reserves)}


def test_feedback_moves_the_accuracy_by_as_much_as_it_moves_the_cards() -> None:
    before, after = (accuracies(pool, "sums") for pool in (POOL, judged("left", "sums", Tally(n_wrong=9))))
    # The card's "sums": prior (3+1)/(4+2) = 2/3, (10·2/3 + 3)/(10+4) = 0.690; with nine more wrong ones the
    # prior is 4/15 and the skill (10·4/15 + 3)/(10+13) = 0.246.
    assert after["left"] == pytest.approx(max(before["left"] - 0.690 + 0.246, 0.02), abs=1e-3)
    assert after["right"] == before["right"]


def test_feedback_on_another_skill_counts_only_as_much_as_it_says_of_the_expert_as_a_whole() -> None:
    before, after = (accuracies(pool, "sums") for pool in (POOL, judged("left", "verbs", Tally(n_wrong=9))))
    # (10·4/15 + 3)/(10+4) = 0.405
    assert after["left"] == pytest.approx(before["left"] - 0.690 + 0.405, abs=1e-3)


def test_a_reserve_weighs_on_the_scale_of_the_recruits() -> None:
    decision = recruit(EAST, k=2)
    first, second = decision.recruits[0], decision.reserves[0]
    assert first.weight == 1
    assert second.weight == pytest.approx(second.accuracy / first.accuracy)


def test_the_first_wave_may_be_all() -> None:
    decision = recruit(EAST, k=2, first=3)
    assert (len(decision.recruits), decision.reserves) == (2, ())


def test_a_pool_without_profile_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match="Run `muster profile` first"):
        make_router("posterior", RouterContext(cards={}, profile=None, expert_ids=("a",)))
