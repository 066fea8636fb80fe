import random
from collections import Counter

import pytest

from orchestrator.routing import RouterContext, make_router
from tests.fakes.decks import deck, routing_input, tally

POOL = deck(
    {
        "fair": {"a": tally(6, 4)},
        "best": {"a": tally(1, 3), "b": tally(9, 1)},
        "worst": {"a": tally(1, 9)},
        "good": {"a": tally(5, 3)},
    }
)
ASKS_A = routing_input("a question", skills={"a": 1.0})


def recruits(name: str, **options: int) -> tuple[str, ...]:
    return make_router(name, POOL, options).recruit([ASKS_A], rng=random.Random(0))[0].expert_ids


def test_best_single_goes_by_overall_accuracy_whatever_the_skill() -> None:
    """(1 + 10)/(2 + 14) = .69 against (1 + 5)/(2 + 8) = .60 and (1 + 6)/(2 + 10) = .58."""
    assert recruits("best_single") == ("best",)


def test_top_k_is_ordered_by_overall_accuracy() -> None:
    assert recruits("top_k", k=2) == ("best", "good")
    assert recruits("static_top_3") == ("best", "good", "fair")


def test_self_consistency_asks_the_best_expert_k_times() -> None:
    (decision,) = make_router("self_consistency", POOL, {"k": 4}).recruit([ASKS_A], rng=random.Random(0))
    assert decision.expert_ids == ("best",) * 4
    assert [r.weight for r in decision.recruits] == [0.25] * 4
    assert decision.runner_up is not None
    assert decision.runner_up.expert_id == "good"


def test_all_recruits_everyone_and_weighs_them_by_overall_accuracy() -> None:
    """best: 11/16, worst: 1/6."""
    (decision,) = make_router("all", POOL).recruit([ASKS_A], rng=random.Random(0))
    assert decision.expert_ids == ("best", "good", "fair", "worst")
    weights = [r.weight for r in decision.recruits]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] / weights[-1] == pytest.approx((11 / 16) / (1 / 6))
    assert decision.runner_up is None


def test_the_accuracy_of_a_baselines_recruit_is_that_on_the_querys_skills() -> None:
    """best: global 11/16 worth 10, 1 of 4 on `a`: (6.875 + 1)/14."""
    (decision,) = make_router("best_single", POOL).recruit([ASKS_A], rng=random.Random(0))
    assert decision.recruits[0].accuracy == 7.875 / 14
    assert decision.would_change == "needs >= 0.09 more on overall accuracy"


def test_a_baseline_reads_the_text_only_for_reasons_that_there_are() -> None:
    assert make_router("all", POOL).reads_text
    assert not make_router("all", RouterContext(cards={}, profile=None, expert_ids=("a", "b"))).reads_text
    assert not make_router("all", POOL._replace(expert_ids=POOL.expert_ids[:1])).reads_text


def test_random_recruits_everyone_about_equally_often() -> None:
    """400 queries, k = 2: each expert 200 ± 50 times (five standard errors)."""
    items = [routing_input(f"question {i}") for i in range(400)]
    decisions = make_router("random", POOL, {"k": 2}).recruit(items, rng=random.Random(0))
    counts = Counter(expert_id for decision in decisions for expert_id in decision.expert_ids)
    assert all(150 < counts[expert_id] < 250 for expert_id in POOL.expert_ids)


def test_another_seed_draws_other_recruits() -> None:
    items = [routing_input(f"question {i}") for i in range(50)]
    router = make_router("random", POOL)
    one, two = (router.recruit(items, rng=random.Random(seed)) for seed in (1, 2))
    assert [d.expert_ids for d in one] != [d.expert_ids for d in two]
