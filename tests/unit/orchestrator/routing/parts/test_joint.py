import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.routing.parts.deck import Floats
from orchestrator.routing.parts.joint import JointPlan, Limits, Tariff, assign_jointly, vote_value

FREE = np.zeros(3)


def calls(n_experts: int) -> Tariff:
    """A call costs 1, a load nothing."""
    return Tariff(np.ones(n_experts), np.arange(n_experts), np.zeros(n_experts))


def asked(plan: JointPlan) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in plan.chosen]


def test_one_voter_is_right_as_often_as_it_is() -> None:
    assert vote_value(np.array([0.7])) == pytest.approx(0.7)


def test_a_second_voter_alone_adds_nothing() -> None:
    assert vote_value(np.array([0.7, 0.6])) == pytest.approx(0.7)


def test_three_voters_by_hand() -> None:
    """.5 + .5 · (.4 · .2): the first is wrong and the others agree on what is right."""
    assert vote_value(np.array([0.5, 0.4, 0.2])) == pytest.approx(0.54)


def test_four_voters_by_hand() -> None:
    """At least two of three at .5: .5. So .5 + .5 · .5."""
    assert vote_value(np.array([0.5, 0.5, 0.5, 0.5])) == pytest.approx(0.75)


def test_without_a_budget_every_query_gets_its_best_k() -> None:
    accuracy = np.array([[0.9, 0.5, 0.1], [0.2, 0.3, 0.8]])
    plan = assign_jointly(accuracy, calls(3), Limits(k=2))
    assert asked(plan) == [[0, 1], [1, 2]]
    assert plan.spent == 4


def test_calls_go_where_agreement_helps_most() -> None:
    """4 calls for 2 queries: three voters gain .5 · .25 = .125 on the even one, .01 · .98 on the sure one."""
    accuracy = np.array([[0.99, 0.99, 0.99], [0.5, 0.5, 0.5]])
    plan = assign_jointly(accuracy, calls(3), Limits(k=3, budget=4))
    assert [len(of_query) for of_query in asked(plan)] == [1, 3]
    assert plan.value == pytest.approx(0.99 + 0.625)


def test_the_dear_expert_answers_only_where_it_is_much_better() -> None:
    """Cheap costs 1, dear 5. 6 pays for one dear call: on the query where it gains .4, not .1."""
    accuracy = np.array([[0.5, 0.6], [0.5, 0.9]])
    plan = assign_jointly(accuracy, Tariff(np.array([1.0, 5.0]), np.arange(2), FREE[:2]), Limits(1, budget=6))
    assert asked(plan) == [[0], [1]]


def test_an_engine_is_loaded_only_if_its_queries_pay_for_it() -> None:
    """Each expert is better by .2 on one of two queries. A second load costs 3, and 5 is all there is."""
    accuracy = np.array([[0.8, 0.6], [0.6, 0.8]])
    tariff = Tariff(np.ones(2), np.arange(2), np.full(2, 3.0))
    assert (
        len({of_query[0] for of_query in asked(assign_jointly(accuracy, tariff, Limits(1, budget=5)))}) == 1
    )
    assert asked(assign_jointly(accuracy, tariff, Limits(1, budget=8))) == [[0], [1]]


def test_experts_of_one_engine_share_its_load() -> None:
    accuracy = np.array([[0.8, 0.6], [0.6, 0.8]])
    plan = assign_jointly(
        accuracy, Tariff(np.ones(2), np.zeros(2, int), np.array([3.0])), Limits(1, budget=5)
    )
    assert asked(plan) == [[0], [1]]
    assert plan.spent == 5


def test_a_price_keeps_money_back_that_the_budget_would_allow() -> None:
    """Two more calls bring .125, that is .0625 each: worth it at .06, not at .07."""
    accuracy = np.array([[0.5, 0.5, 0.5]])
    assert assign_jointly(accuracy, calls(3), Limits(3, budget=9, price=0.06)).spent == 3
    assert assign_jointly(accuracy, calls(3), Limits(3, budget=9, price=0.07)).spent == 1


def test_a_budget_below_one_call_each_is_exceeded_by_the_cheapest_calls_only() -> None:
    accuracy = np.array([[0.1, 0.9], [0.2, 0.9]])
    plan = assign_jointly(accuracy, Tariff(np.array([1.0, 2.0]), np.arange(2), FREE[:2]), Limits(2, budget=1))
    assert asked(plan) == [[0], [0]]
    assert plan.spent == 2


def optimum(accuracy: Floats, tariff: Tariff, limits: Limits) -> float:
    """Over all assignments; -inf when none fits."""
    n_queries, n_experts = accuracy.shape
    sets = [s for n in range(1, limits.k + 1) for s in itertools.combinations(range(n_experts), n)]
    worth = [{s: float(vote_value(-np.sort(-row[list(s)]))) for s in sets} for row in accuracy]
    best = -np.inf
    for combination in itertools.product(sets, repeat=n_queries):
        used = {tariff.engine[e] for s in combination for e in s}
        cost = sum(tariff.call[e] for s in combination for e in s) + sum(tariff.reload[g] for g in used)
        if cost <= (np.inf if limits.budget is None else limits.budget) + 1e-9:
            value = sum(of_query[s] for of_query, s in zip(worth, combination, strict=True))
            best = max(best, value - limits.price * cost)
    return best


def test_small_cases_come_close_to_the_optimum() -> None:
    """60 random cases of 3 queries, 4 experts, 3 engines: the mean share of the optimum, and the worst."""
    rng = np.random.default_rng(7)
    shares = []
    while len(shares) < 60:
        accuracy = rng.uniform(0.1, 0.95, (3, 4))
        tariff = Tariff(
            rng.integers(1, 5, 4).astype(float), np.arange(4) % 3, rng.integers(0, 6, 3).astype(float)
        )
        limits = Limits(3, float(rng.integers(5, 25)), float(rng.choice([0, 0.02])))
        best = optimum(accuracy, tariff, limits)
        if np.isfinite(best):
            plan = assign_jointly(accuracy, tariff, limits)
            assert plan.spent <= limits.budget + 1e-6
            shares.append((plan.value - limits.price * plan.spent) / best)
    assert max(shares) <= 1 + 1e-9
    assert np.mean(shares) >= 0.99
    assert min(shares) >= 0.85


@settings(max_examples=40, deadline=None)
@given(
    n_queries=st.integers(1, 12),
    budget=st.integers(12, 60),
    reload=st.integers(0, 5),
    seed=st.integers(0, 999),
)
def test_a_budget_that_can_be_kept_is_kept_and_everybody_is_asked(
    n_queries: int, budget: int, reload: int, seed: int
) -> None:
    """One call each at 1 and one load of at most 5 fit into 12 and more, or 12 queries into 17."""
    accuracy = np.random.default_rng(seed).uniform(0, 1, (n_queries, 4))
    tariff = Tariff(np.array([1.0, 2, 3, 4]), np.arange(4), np.full(4, float(reload)))
    limits = Limits(k=3, budget=float(budget + reload))
    plan = assign_jointly(accuracy, tariff, limits)
    assert plan.chosen.any(axis=1).all()
    assert (plan.chosen.sum(axis=1) <= 3).all()
    assert plan.spent <= limits.budget + 1e-6
