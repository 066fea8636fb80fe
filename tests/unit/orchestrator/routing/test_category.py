import random
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.domain.experts import Expert
from orchestrator.domain.skills import SkillTag
from orchestrator.errors import ConfigError
from orchestrator.routing import RouterContext, make_router
from orchestrator.routing.category import Classifier, best_n_categories, category_names, map_within_budget
from orchestrator.routing.parts.neighbours import ProfileView
from tests.fakes.app import make_expert
from tests.fakes.decks import profile, routing_input

EAST, NORTH, BETWEEN = (1.0, 0.0), (0.0, 1.0), (0.5**0.5, 0.5**0.5)
PROFILE = profile(
    {"left": [1] * 6 + [0] * 6, "right": [0] * 6 + [1] * 6, "giant": [1] * 12}, [EAST] * 6 + [NORTH] * 6
)
POOL = RouterContext(cards={}, profile=PROFILE, expert_ids=("left", "right", "giant"))
TWO = {"k": 1, "n_categories": 2, "prior_strength": 1}


def sized(**params_b: float | None) -> dict[str, Expert]:
    return {name: make_expert(name).model_copy(update={"params_b": b}) for name, b in params_b.items()}


def test_a_query_far_from_every_border_has_a_category() -> None:
    points = np.array([EAST] * 6 + [NORTH] * 6, dtype=np.float32)
    labels, chance = Classifier(points, 2, floor=0.7, seed=0).classify(points[[0, 11]])
    assert set(labels.tolist()) == {0, 1}
    assert (chance > 0.7).all()


def test_an_uncertain_query_is_general() -> None:
    points = np.array([EAST] * 6 + [NORTH] * 6, dtype=np.float32)
    labels, chance = Classifier(points, 2, floor=0.7, seed=0).classify(np.array([BETWEEN], dtype=np.float32))
    assert labels.tolist() == [2]
    assert chance.tolist() == [pytest.approx(0.5, abs=0.01)]


@pytest.mark.parametrize("n", [1, 3])
def test_points_of_their_own_category_are_classified_into_it(n: int) -> None:
    points = np.eye(3, dtype=np.float32).repeat(5, axis=0)
    labels, _ = Classifier(points, n, floor=0.0, seed=0).classify(points)
    assert len(set(labels.tolist())) == n


def test_a_category_maps_to_its_best_expert() -> None:
    pair = POOL._replace(expert_ids=("left", "right"))
    items = [routing_input(embedding=EAST), routing_input(embedding=NORTH)]
    east, north = make_router("category", pair, TWO).recruit(items, rng=random.Random())
    assert (east.expert_ids, north.expert_ids) == (("left",), ("right",))
    assert north.recruits[0].evidence[0].n == 6


def test_an_uncertain_query_goes_to_the_best_overall_with_all_questions_behind_it() -> None:
    router = make_router("category", POOL, {**TWO, "floor": 0.7})
    (decision,) = router.recruit([routing_input(embedding=BETWEEN)], rng=random.Random())
    assert decision.expert_ids == ("giant",)
    assert decision.recruits[0].evidence[0].skill == "category general (p = 0.50)"
    assert decision.recruits[0].evidence[0].n == 12


def test_the_budget_holds_on_average_over_the_profile() -> None:
    """Of 1, 1 and 9 billion: `giant` for one half and small for the other is 5 on average, not 4."""
    experts = sized(left=1, right=1, giant=9)
    items = [routing_input(embedding=EAST), routing_input(embedding=NORTH)]
    router = make_router("category", POOL._replace(experts=experts), {**TWO, "max_mean_params_b": 4})
    assert [d.expert_ids for d in router.recruit(items, rng=random.Random())] == [("left",), ("right",)]


def test_the_runner_up_that_the_budget_kept_out_is_told_so() -> None:
    """`giant` was right on all twelve, `left` on half: shrunk to that, `giant` leads on every cluster."""
    context = POOL._replace(experts=sized(left=1, right=1, giant=9))
    router = make_router("category", context, {**TWO, "max_mean_params_b": 4})
    (decision,) = router.recruit([routing_input(embedding=EAST)], rng=random.Random())
    assert decision.runner_up is not None
    assert (decision.runner_up.expert_id, decision.would_change) == ("giant", "a larger max_mean_params_b")


def test_the_mapping_by_hand() -> None:
    """Budget 5.5: the big expert (10) on half of the stream costs 5 + .5; it gains .4 there and .1 here."""
    accuracy = np.array([[0.5, 0.6], [0.5, 0.9]])
    chosen = map_within_budget(accuracy, np.array([0.5, 0.5]), np.array([1.0, 10.0]), k=1, budget=5.5)
    assert chosen.tolist() == [[True, False], [False, True]]


def test_the_mapping_is_the_optimum_of_all_mappings() -> None:
    """Three categories, three experts, one each: 27 mappings, compared on ten random cases."""
    rng = np.random.default_rng(3)
    for _ in range(10):
        accuracy, sizes = rng.uniform(0, 1, (3, 3)), rng.uniform(1, 9, 3)
        shares, budget = rng.dirichlet(np.ones(3)), float(rng.uniform(sizes.min() + 0.1, 9))
        mappings = np.stack(np.meshgrid(*[range(3)] * 3), axis=-1).reshape(-1, 3)
        fits = mappings[(sizes[mappings] @ shares) <= budget]
        best = (accuracy[np.arange(3), fits] @ shares).max()
        chosen = map_within_budget(accuracy, shares, sizes, k=1, budget=budget)
        assert (chosen * accuracy).sum(axis=1) @ shares == pytest.approx(best, abs=1e-5)


def test_a_budget_that_nobody_keeps_gets_the_smallest_and_a_note() -> None:
    context = POOL._replace(experts=sized(left=3, right=2, giant=9))
    router = make_router("category", context, {**TWO, "max_mean_params_b": 1})
    (decision,) = router.recruit([routing_input(embedding=EAST)], rng=random.Random())
    assert decision.expert_ids == ("right",)
    assert decision.notes == ("max_mean_params_b=1 cannot be kept: 1 experts have 2",)


def test_a_budget_needs_every_size() -> None:
    context = POOL._replace(experts=sized(left=3, right=None, giant=9))
    with pytest.raises(ConfigError, match="needs the size of right"):
        make_router("category", context, {"max_mean_params_b": 5})


def test_categories_are_named_after_the_skill_of_most_of_their_questions() -> None:
    algebra, sorting = (SkillTag(name="algebra"),), (SkillTag(name="sorting"),)
    names = category_names([algebra, algebra, sorting, ()], np.array([0, 0, 0, 1]), 2)
    assert names == ["category 1 of 2: algebra", "category 2 of 2", "category general"]


def test_the_number_of_categories_is_chosen_inside_the_profile() -> None:
    """Four kinds of question, an expert for each: two clusters cannot tell them apart."""
    points = np.eye(4).repeat(20, axis=0)
    outcomes = {f"e{i}": [int(row == i) for row in range(4) for _ in range(20)] for i in range(4)}
    context = RouterContext(cards={}, profile=profile(outcomes, points.tolist()), expert_ids=tuple(outcomes))
    assert best_n_categories(ProfileView("category", context), prior_strength=1.0, seed=0) == 4


def test_labels_of_the_data_set_are_not_looked_at() -> None:
    labelled = POOL._replace(profile=replace(PROFILE, domains=("a", "b") * 6))
    items = [routing_input(embedding=EAST)]
    blind, seeing = (
        make_router("category", c, TWO).recruit(items, rng=random.Random()) for c in (POOL, labelled)
    )
    assert blind == seeing
