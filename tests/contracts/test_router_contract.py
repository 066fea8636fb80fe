"""What every row of the router table promises."""

import random

import pytest

from orchestrator.errors import ConfigError, NoCapableExpertError, UnknownNameError
from orchestrator.routing import ROUTERS, ReplayRandom, RouterContext, make_router
from tests.fakes.decks import deck, profile, routing_input, tally

OUTCOMES = {
    "adder": [1, 1, 1, 0, 0, 0],
    "sorter": [0, 0, 0, 1, 1, 1],
    "poet": [0, 0, 1, 0, 1, -1],
    "novice": [0, 0, 0, 0, 0, 1],
    "guesser": [-2, -2, 1, 0, -2, 0],
}
POINTS = [(1.0, 0.0), (0.96, 0.28), (0.8, 0.6), (0.6, 0.8), (0.28, 0.96), (0.0, 1.0)]
SKILLS = {
    "adder": {"addition": tally(9, 1), "sorting": tally(1, 9)},
    "sorter": {"addition": tally(2, 8), "sorting": tally(10, 0)},
    "poet": {"addition": tally(4, 6), "sorting": tally(3, 7)},
    "novice": {"addition": tally(1, 9), "sorting": tally(0, 10)},
    "guesser": {"addition": tally(2, 2)},
}
POOL = deck(SKILLS, profile=profile(OUTCOMES, POINTS))
BATCH = [
    routing_input("2 + 2", skills={"addition": 0.9}, embedding=(1.0, 0.0)),
    routing_input("sort 3 1 2", skills={"sorting": 0.8, "addition": 0.2}, embedding=(0.0, 1.0)),
    routing_input("what is love", embedding=(0.6, 0.8)),
]

ASKS_ONE_OFTEN = {"self_consistency"}
every_router = pytest.mark.parametrize("name", sorted(ROUTERS))


@every_router
def test_weights_of_a_decision_sum_to_one(name: str) -> None:
    for decision in make_router(name, POOL).recruit(BATCH, rng=random.Random(1)):
        assert sum(r.weight for r in decision.recruits) == pytest.approx(1)


@every_router
def test_same_seed_gives_the_same_decisions(name: str) -> None:
    first = make_router(name, POOL).recruit(BATCH, rng=random.Random(1))
    again = make_router(name, POOL).recruit(BATCH, rng=random.Random(1))
    assert first == again


@every_router
def test_recruits_do_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    router = make_router(name, POOL)
    together = router.recruit(BATCH, rng=random.Random(1))
    alone = [router.recruit([item], rng=random.Random(1))[0] for item in BATCH]
    assert [d.expert_ids for d in together] == [d.expert_ids for d in alone]


@every_router
def test_recruits_are_different_experts(name: str) -> None:
    for decision in make_router(name, POOL).recruit(BATCH, rng=random.Random(1)):
        assert len(set(decision.expert_ids)) == (1 if name in ASKS_ONE_OFTEN else len(decision.recruits))
        assert decision.recruits


@every_router
def test_a_stored_decision_can_be_replayed_from_its_seed(name: str) -> None:
    router = make_router(name, POOL)
    (stored,) = router.recruit(BATCH[:1], rng=random.Random(7))
    assert router.recruit(BATCH[:1], rng=ReplayRandom.of(stored.seed)) == [stored]


@every_router
def test_a_decision_states_its_reasons(name: str) -> None:
    decision = make_router(name, POOL).recruit(BATCH[:1], rng=random.Random(1))[0]
    assert decision.router == name
    assert decision.card_version
    assert decision.skills == BATCH[0].skills
    for recruit in decision.recruits:
        assert recruit.evidence
        assert all(e.interval.low <= e.accuracy <= e.interval.high for e in recruit.evidence)
    if decision.runner_up is not None:
        assert decision.runner_up.expert_id not in decision.expert_ids
        assert decision.would_change


@every_router
def test_a_pool_smaller_than_k_is_recruited_whole(name: str) -> None:
    pair = POOL._replace(expert_ids=("poet", "adder"))
    (decision,) = make_router(name, pair).recruit(BATCH[:1], rng=random.Random(1))
    assert set(decision.expert_ids) <= {"poet", "adder"}
    assert decision.runner_up is None or name in {"best_single", *ASKS_ONE_OFTEN}


@every_router
def test_an_expert_that_was_never_profiled_counts_as_even_odds(name: str) -> None:
    stranger = RouterContext(cards={}, profile=POOL.profile, expert_ids=("stranger",))
    (decision,) = make_router(name, stranger).recruit(BATCH[:1], rng=random.Random(1))
    recruit = decision.recruits[0]
    assert decision.expert_ids == ("stranger",) * (3 if name in ASKS_ONE_OFTEN else 1)
    assert recruit.accuracy == 0.5
    assert recruit.note == "not profiled: accuracy 0.5 assumed"


@every_router
def test_an_empty_pool_is_refused_when_somebody_asks(name: str) -> None:
    router = make_router(name, POOL._replace(expert_ids=()))
    with pytest.raises(NoCapableExpertError, match="no expert of the pool may answer"):
        router.recruit(BATCH, rng=random.Random(1))


@every_router
def test_an_empty_batch_needs_no_decision(name: str) -> None:
    assert make_router(name, POOL).recruit([], rng=random.Random(1)) == []


@every_router
def test_an_unknown_option_is_refused_with_the_valid_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="has no option 'kk'") as caught:
        make_router(name, POOL, {"kk": 3})
    assert caught.value.param == "kk"
    assert "Valid: " in str(caught.value)


def test_an_unknown_router_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'symbolic'"):
        make_router("symbolc", POOL)
