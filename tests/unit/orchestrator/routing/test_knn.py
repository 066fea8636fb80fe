import random
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.errors import ConfigError, RoutingError
from orchestrator.routing import RouterContext, make_router
from orchestrator.routing.knn import best_n_neighbours
from orchestrator.routing.parts.neighbours import ProfileView
from tests.fakes.decks import profile, routing_input

EAST, NORTH = (1.0, 0.0), (0.0, 1.0)
PROFILE = profile({"left": [1, 1, 0, 0], "right": [0, 0, 1, 1]}, [EAST, (0.8, 0.6), (0.6, 0.8), NORTH])
POOL = RouterContext(cards={}, profile=PROFILE, expert_ids=("left", "right"))


def test_local_accuracy_by_hand() -> None:
    """Looking east at 3 neighbours: similarities 1, .8, .6. `left` is right on 1.8 of 2.4.

    Its global accuracy is .5, worth 2: (.5·2 + 1.8) / (2 + 2.4) = 2.8/4.4.
    """
    options = {"k": 1, "n_neighbours": 3, "prior_strength": 2}
    (decision,) = make_router("knn", POOL, options).recruit(
        [routing_input(embedding=EAST)], rng=random.Random()
    )
    (recruit,) = decision.recruits
    assert recruit.expert_id == "left"
    assert recruit.accuracy == pytest.approx(2.8 / 4.4, abs=1e-6)
    assert recruit.evidence[0].n == pytest.approx(2.4)
    assert recruit.evidence[0].skill == "the 3 nearest profile questions"


def test_runner_up_is_told_what_it_lacks() -> None:
    """`right`: (1 + .6)/4.4; behind by 1.2/4.4 = .27."""
    options = {"k": 1, "n_neighbours": 3, "prior_strength": 2}
    (decision,) = make_router("knn", POOL, options).recruit(
        [routing_input(embedding=EAST)], rng=random.Random()
    )
    assert decision.would_change == "needs >= 0.27 more on the 3 nearest profile questions"


def test_what_was_not_measured_counts_neither_way() -> None:
    """Only the first question was measured: n = its similarity, 1."""
    sparse = POOL._replace(profile=profile({"left": [1, -2], "right": [0, 0]}, [EAST, (0.6, 0.8)]))
    (decision,) = make_router("knn", sparse, {"k": 1}).recruit([routing_input()], rng=random.Random())
    assert decision.recruits[0].evidence[0].n == pytest.approx(1)


def test_more_neighbours_than_questions_means_all() -> None:
    (decision,) = make_router("knn", POOL, {"n_neighbours": 500}).recruit(
        [routing_input()], rng=random.Random()
    )
    assert decision.recruits[0].evidence[0].skill == "the 4 nearest profile questions"


def test_a_pool_without_profile_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match="Run `muster profile` first"):
        make_router("knn", POOL._replace(profile=None))


def test_embeddings_of_another_width_are_refused() -> None:
    item = routing_input()._replace(embedding=np.zeros(0, dtype=np.float32))
    with pytest.raises(RoutingError, match="needs embeddings of width 2"):
        make_router("knn", POOL).recruit([item], rng=random.Random())


def test_the_number_of_neighbours_is_chosen_inside_the_profile() -> None:
    """Twelve questions of one kind, six of another (similarity .6), an expert for each. Left out, one of
    the six sees its own 5 (weight 5) among 5 neighbours, but all 12 others (weight 7.2) among 10."""
    outcomes = {"left": [1] * 12 + [0] * 6, "right": [0] * 12 + [1] * 6}
    kinds = profile(outcomes, [EAST] * 12 + [(0.6, 0.8)] * 6)
    view = ProfileView("knn", POOL._replace(profile=kinds))
    assert best_n_neighbours(view, prior_strength=1.0) == 5


def test_among_equals_the_larger_neighbourhood_is_chosen() -> None:
    same = profile({"left": [1] * 30, "right": [0] * 30}, [EAST] * 30)
    assert best_n_neighbours(ProfileView("knn", POOL._replace(profile=same)), prior_strength=1.0) == 20


def test_grades_count_as_parts_of_right_answers() -> None:
    """Grades .8 and .5 of two neighbours at similarity 1 and .6: (.8 + .3)/1.6; a third was not scored."""
    graded = profile({"left": [2, 2, 2], "right": [2, 2, 2]}, [EAST, (0.6, 0.8), NORTH])
    nan = float("nan")
    scores = np.array([[0.8, 0.5, nan], [0.1, 0.2, 0.9]], dtype=np.float32)
    pool = POOL._replace(profile=replace(graded, scores=scores))
    options = {"k": 1, "n_neighbours": 2, "prior_strength": 1e-6}
    (decision,) = make_router("knn", pool, options).recruit([routing_input()], rng=random.Random())
    (recruit,) = decision.recruits
    assert (recruit.expert_id, recruit.evidence[0].n) == ("left", pytest.approx(1.6))
    assert recruit.accuracy == pytest.approx(1.1 / 1.6, abs=1e-3)


def test_a_graded_outcome_without_a_score_was_not_measured() -> None:
    view = ProfileView(
        "knn", POOL._replace(profile=profile({"left": [2, 1], "right": [2, 0]}, [EAST, NORTH]))
    )
    assert view.known.tolist() == [[0, 0], [1, 1]]
