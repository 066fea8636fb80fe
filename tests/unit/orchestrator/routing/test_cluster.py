import random

import numpy as np
import pytest

from orchestrator.routing import RouterContext, make_router
from orchestrator.routing.cluster import k_means, nearest
from tests.fakes.decks import profile, routing_input

EAST, NORTH = (1.0, 0.0), (0.0, 1.0)
PROFILE = profile(
    {"left": [1, 1, 1, 0, 0, 0], "right": [0, 0, 0, 1, 1, 0]},
    [EAST, (0.995, 0.0999), (0.98, 0.199), NORTH, (0.0999, 0.995), (0.199, 0.98)],
)
POOL = RouterContext(cards={}, profile=PROFILE, expert_ids=("left", "right"))


def test_two_groups_of_points_are_found_exactly() -> None:
    points = np.array([[0, 0], [0, 2], [9, 9], [9, 7]], dtype=np.float32)
    found = k_means(points, 2, seed=0)
    assert sorted(found.tolist()) == [[0, 1], [9, 8]]


def test_the_same_seed_gives_the_same_clusters() -> None:
    points = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    assert np.array_equal(k_means(points, 5, seed=1), k_means(points, 5, seed=1))


def test_every_point_belongs_to_its_nearest_centroid() -> None:
    points = np.array([[0, 0], [4, 0]], dtype=np.float32)
    assert nearest(points, np.array([[3, 0], [1, 0]], dtype=np.float32)).tolist() == [1, 0]


def test_equal_points_do_not_break_the_starts() -> None:
    assert k_means(np.ones((5, 2), dtype=np.float32), 3, seed=0).tolist() == [[1, 1]] * 3


def test_more_clusters_than_questions_means_one_each() -> None:
    assert len(k_means(np.eye(3, dtype=np.float32), 8, seed=0)) == 3


def test_the_best_expert_of_the_cluster_is_recruited() -> None:
    """North: `right` has 2 of 3; global (1 + 2)/(2 + 6) = .375 worth 1: (.375 + 2)/4."""
    router = make_router("cluster", POOL, {"k": 1, "n_clusters": 2, "prior_strength": 1})
    items = [routing_input(embedding=EAST), routing_input(embedding=NORTH)]
    east, north = router.recruit(items, rng=random.Random())
    assert (east.expert_ids, north.expert_ids) == (("left",), ("right",))
    assert north.recruits[0].accuracy == pytest.approx(2.375 / 4, abs=1e-6)
    assert north.recruits[0].evidence[0].n == 3
    assert "of 2" in north.recruits[0].evidence[0].skill
