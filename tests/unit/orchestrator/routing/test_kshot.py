import random
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.domain.cards import Transcript
from orchestrator.domain.queries import Query
from orchestrator.errors import UnknownNameError
from orchestrator.routing import RouterContext, make_router
from orchestrator.routing.kshot import disagreement, diverse_order
from tests.fakes.decks import profile, routing_input

EAST, NORTH = (1.0, 0.0), (0.0, 1.0)
PROFILE = profile(
    {"strong": [1, 1, 1, 0], "twin": [1, 1, 1, 0], "other": [0, 0, 1, 1]}, [EAST, EAST, NORTH, NORTH]
)
POOL = RouterContext(cards={}, profile=PROFILE, expert_ids=("strong", "twin", "other"))
ALL = {"examples": ["h0", "h1", "h2", "h3"], "prior_strength": 1}


def recruits(context: RouterContext, **options: object) -> tuple[str, ...]:
    router = make_router("kshot", context, options)
    (decision,) = router.recruit([routing_input(embedding=EAST)], rng=random.Random())
    return decision.expert_ids


def test_experts_disagree_where_one_is_right_and_the_other_is_not() -> None:
    """Rows 1 and 2 differ on 2 of 3 examples; the fourth was measured on the first only."""
    right = np.array([[[1, 0], [1, 1], [0, 1], [0, 0]]], dtype=np.float32)
    known = np.array([[[1, 1], [1, 1], [1, 1], [1, 0]]], dtype=np.float32)
    found = disagreement(right, known)[0]
    assert found[0, 1] == found[1, 0] == pytest.approx(2 / 3)
    assert found[0, 0] == 0


def test_a_twin_adds_less_than_one_who_errs_elsewhere() -> None:
    """Second place: twin .75 + .5 · 0; other .5 + .5 · .75 = .875."""
    accuracy = np.array([[0.75, 0.75, 0.5]])
    distance = np.array([[[0, 0, 0.75], [0, 0, 0.75], [0.75, 0.75, 0]]])
    order, scores = diverse_order(accuracy, distance, 2, 0.5)
    assert order.tolist() == [[0, 2]]
    assert scores.tolist() == [[0.75, 0.75, 0.875]]


def test_without_diversity_the_best_on_the_examples_are_recruited() -> None:
    assert recruits(POOL, k=2, diversity=0.0, **ALL) == ("strong", "twin")


def test_diversity_recruits_the_one_who_errs_elsewhere() -> None:
    assert recruits(POOL, k=2, diversity=1.0, **ALL) == ("strong", "other")


def test_given_examples_override_the_rest_of_the_profile() -> None:
    """On the last question alone, `other` is right; it is the same for every query."""
    assert recruits(POOL, k=1, examples=["h3"], prior_strength=0.1) == ("other",)


def test_without_examples_the_nearest_profile_questions_are_used() -> None:
    router = make_router("kshot", POOL, {"k": 1, "n_examples": 2})
    east, north = router.recruit(
        [routing_input(embedding=EAST), routing_input(embedding=NORTH)], rng=random.Random()
    )
    assert (east.expert_ids, north.expert_ids) == (("strong",), ("other",))
    assert north.recruits[0].evidence[0].skill == "the 2 nearest profile questions"
    assert north.recruits[0].evidence[0].n == 2


def test_examples_may_be_named_by_the_ids_of_their_questions() -> None:
    queries = tuple(Query(id=f"line-{i}", question="?") for i in range(4))
    said = Transcript(queries, ((None,) * 4,) * 3, np.zeros((3, 4), dtype=np.int32))
    named = POOL._replace(profile=replace(PROFILE, transcript=said))
    assert recruits(named, k=1, examples=["line-3"], prior_strength=0.1) == ("other",)


def test_an_example_that_is_not_in_the_profile_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown profile question 'h9'"):
        make_router("kshot", POOL, {"examples": ["h9"]})


def test_the_runner_up_is_told_how_much_it_lacked_for_the_last_place() -> None:
    """`strong`: prior (1 + 3)/(2 + 4) = 2/3, mean (2/3 + 3)/(1 + 4) = .7333; `twin` has the same."""
    router = make_router("kshot", POOL, {"k": 1, "diversity": 0.0, **ALL})
    (decision,) = router.recruit([routing_input()], rng=random.Random())
    assert decision.recruits[0].accuracy == pytest.approx(0.7333, abs=1e-4)
    assert decision.would_change == (
        "equal score: any gain on the 4 labelled examples would recruit it (ties go by pool order)"
    )
