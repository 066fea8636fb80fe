import random

import numpy as np
import pytest

from orchestrator.routing import RouterContext, make_router
from orchestrator.routing.centroid import best_experts, mean_similarity, pilot_centroids
from tests.fakes.decks import profile, routing_input

EAST, NORTH = (1.0, 0.0), (0.0, 1.0)
PROFILE = profile(
    {"left": [1, 1, 0, 0], "right": [0, 0, 1, 1], "lost": [0, 0, 0, 0]}, [EAST, EAST, NORTH, NORTH]
)
POOL = RouterContext(cards={}, profile=PROFILE, expert_ids=("left", "right", "lost"))


def test_the_best_is_the_most_accurate_nearby_of_those_who_were_right() -> None:
    right = np.array([[1.0, 1, 0], [0, 1, 1], [0, 0, 0]])
    local = np.array([[0.2, 0.6, 0.9]] * 3)
    assert best_experts(right, local).tolist() == [1, 2, -1]


def test_a_pilot_is_the_mean_of_the_questions_one_is_best_at_in_a_cluster() -> None:
    """Expert 1 is best at two questions of cluster 0, mean (.5, .5), and at one of cluster 1."""
    points = np.array([EAST, NORTH, NORTH, EAST], dtype=np.float32)
    pilots, owners = pilot_centroids(points, np.array([0, 0, 1, 1]), np.array([1, 1, 1, -1]))
    assert owners.tolist() == [1, 1]
    assert pilots.tolist() == [pytest.approx([0.5**0.5] * 2), [0, 1]]


def test_similarity_is_averaged_over_an_experts_pilots() -> None:
    found = mean_similarity(np.array([[0.8, 0.4, 0.5]], dtype=np.float32), np.array([0, 0, 1]), 3)
    assert found.tolist() == [[0.6, 0.5, -1]]


def test_questions_go_to_the_expert_whose_pilots_are_near() -> None:
    router = make_router("centroid", POOL, {"k": 1, "n_clusters": 2})
    items = [routing_input(embedding=EAST), routing_input(embedding=NORTH)]
    east, north = router.recruit(items, rng=random.Random())
    assert (east.expert_ids, north.expert_ids) == (("left",), ("right",))
    assert east.recruits[0].score == 1
    assert east.would_change == "needs its pilot questions 1.000 more similar to the query"


def test_who_is_best_at_nothing_comes_last_and_is_told_why() -> None:
    (decision,) = make_router("centroid", POOL, {"k": 2}).recruit([routing_input()], rng=random.Random())
    assert decision.runner_up is not None
    assert decision.runner_up.expert_id == "lost"
    assert decision.would_change is not None
    assert decision.would_change.startswith("is best at no profile question")
