import random

import numpy as np
import pytest

from orchestrator.domain.cards import CompetenceCard
from orchestrator.errors import ConfigError
from orchestrator.routing import RouterContext, make_router
from tests.fakes.app import make_expert
from tests.fakes.decks import card, profile, routing_input, tally

EAST, NORTH = (1.0, 0.0), (0.0, 1.0)
PROFILE = profile(
    {"sure": [1, 1, 1, 1, 0, 0], "even": [1, 0, 1, 0, 1, 1], "slow": [0, 0, 0, 0, 1, 1]},
    [EAST] * 4 + [NORTH] * 2,
)
POOL = RouterContext(cards={}, profile=PROFILE, expert_ids=("sure", "even", "slow"))
OPTIONS = {"n_neighbours": 2, "prior_strength": 1}
ITEMS = [routing_input("a", embedding=EAST), routing_input("b", embedding=NORTH)]


def priced(latency_ms: float, cost: float, name: str) -> CompetenceCard:
    of_expert = card(name, {"any": tally(1, 1)})
    return of_expert.model_copy(update={"mean_latency_ms": latency_ms, "cost_per_query": cost})


CARDS = {
    name: priced(ms, usd, name)
    for name, ms, usd in [("sure", 1000, 0.1), ("even", 1000, 0.2), ("slow", 9000, 0.9)]
}


def recruits(context: RouterContext, options: dict[str, object]) -> list[tuple[str, ...]]:
    decisions = make_router("budget", context, {**OPTIONS, **options}).recruit(ITEMS, rng=random.Random())
    return [decision.expert_ids for decision in decisions]


def test_without_a_budget_k_experts_answer_each_query() -> None:
    assert [len(of_query) for of_query in recruits(POOL, {"k": 2})] == [2, 2]


def test_one_call_each_goes_to_the_best_nearby() -> None:
    assert recruits(POOL, {"budget_calls": 1}) == [("sure",), ("even",)]


def test_two_calls_on_average_are_one_and_three() -> None:
    """Three voters help more on the even query than on the sure one."""
    assert sorted(len(of_query) for of_query in recruits(POOL, {"budget_calls": 2})) == [1, 3]


def test_seconds_are_those_of_the_cards() -> None:
    """North, `slow` is as good as `even`, and 9 s do not fit into 2 · 2 s."""
    context = POOL._replace(cards=CARDS)
    assert all("slow" not in of_query for of_query in recruits(context, {"budget_seconds": 2}))


def test_a_reload_is_charged_by_engine() -> None:
    """2 s for two calls of 1 s; each engine costs another 2 s, and 2 · 2 s pay for one."""
    context = POOL._replace(cards=CARDS, experts={name: make_expert(name) for name in POOL.expert_ids})
    one = recruits(context, {"budget_seconds": 2, "reload": {"sure-engine": 2.0, "even-engine": 2.0}})
    assert len({expert for of_query in one for expert in of_query}) == 1
    assert recruits(context, {"budget_seconds": 3, "reload": 2.0}) == [("sure",), ("even",)]


def test_the_decision_says_what_the_batch_spent() -> None:
    router = make_router("budget", POOL, {**OPTIONS, "budget_calls": 1.5})
    (decision, _) = router.recruit(ITEMS, rng=random.Random())
    assert decision.notes == ("2 of 3 calls spent on a batch of 2",)
    assert decision.would_change == "needs a larger budget: its call costs 1 calls, loading its engine aside"


def test_a_budget_that_cannot_be_kept_is_said_so() -> None:
    router = make_router("budget", POOL, {**OPTIONS, "budget_calls": 0.5})
    decisions = router.recruit(ITEMS, rng=random.Random())
    assert [len(d.recruits) for d in decisions] == [1, 1]
    assert decisions[0].notes[0].startswith("budget too small for a call on each query: 2 of 1 calls")


def test_a_price_saves_calls_that_bring_little() -> None:
    assert [len(of_query) for of_query in recruits(POOL, {"price": 0.9})] == [1, 1]


def test_an_expert_without_a_card_costs_as_much_as_the_dearest() -> None:
    """`slow` costs .9 by its card; `even` is not measured, so that .9 is assumed."""
    cards = {name: CARDS[name] for name in ("sure", "slow")}
    assert recruits(POOL._replace(cards=cards), {"budget_cost": 0.15}) == [("sure",), ("sure",)]


def test_two_budgets_at_once_are_refused() -> None:
    with pytest.raises(ConfigError, match="give one of budget_calls, budget_cost, budget_seconds"):
        make_router("budget", POOL, {"budget_calls": 1, "budget_cost": 1})


def test_a_budget_of_what_no_card_states_is_refused() -> None:
    with pytest.raises(ConfigError, match="no card says what a call costs in USD"):
        make_router("budget", POOL, {"budget_cost": 1})


def test_a_reload_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="a reload costs 0 or more"):
        make_router("budget", POOL, {"reload": {"sure-engine": -1.0}})


def test_ten_thousand_queries_are_within_their_budget() -> None:
    rng = np.random.default_rng(0)
    batch = [
        routing_input(f"q{i}", embedding=(float(np.cos(t)), float(np.sin(t))))
        for i, t in enumerate(rng.uniform(0, 1.5, 10_000))
    ]
    decisions = make_router("budget", POOL, {**OPTIONS, "budget_calls": 1.8}).recruit(
        batch, rng=random.Random()
    )
    assert 17_900 <= sum(len(d.recruits) for d in decisions) <= 18_000
