import random

import pytest

from orchestrator.domain.answers import Decision
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
