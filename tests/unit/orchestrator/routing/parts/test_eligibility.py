import random

import pytest

from orchestrator.domain.devices import Conditions
from orchestrator.domain.experts import Expert
from orchestrator.domain.terms import Terms
from orchestrator.errors import NoCapableExpertError
from orchestrator.ports.composing import RoutingInput
from orchestrator.routing import ROUTERS, RouterContext, make_router
from orchestrator.routing.parts.abilities import prompt_tokens
from tests.fakes.app import make_expert
from tests.fakes.decks import deck, profile, routing_input, tally

SKILLS = {"short": {"any": tally(9, 1)}, "long": {"any": tally(5, 5)}, "unknown": {"any": tally(2, 8)}}
OUTCOMES = {"short": [1, 1], "long": [1, 0], "unknown": [0, 0]}
BARE = deck(SKILLS, profile=profile(OUTCOMES, [(1.0, 0.0), (0.0, 1.0)]))
BRIEF, LENGTHY = routing_input("a" * 40), routing_input("b" * 4000)
TOO_LONG = routing_input("c" * 80_000)


def with_context(expert_id: str, max_model_len: int) -> Expert:
    expert = make_expert(expert_id)
    return expert.model_copy(
        update={"engine": expert.engine.model_copy(update={"max_model_len": max_model_len})}
    )


POOL: RouterContext = BARE._replace(
    experts={
        "short": with_context("short", 1000),
        "long": with_context("long", 9000),
        "unknown": with_context("unknown", 9000),
    }
)


def test_tokens_are_estimated_at_four_characters() -> None:
    assert prompt_tokens(LENGTHY.query) == 1000


@pytest.mark.parametrize("name", sorted(ROUTERS))
def test_nobody_is_recruited_whose_context_the_query_fills(name: str) -> None:
    brief, lengthy = make_router(name, POOL).recruit([BRIEF, LENGTHY], rng=random.Random(1))
    assert "short" not in lengthy.expert_ids
    assert lengthy.notes[-1] == "1 experts left out: the query exceeds their context"
    assert brief == make_router(name, BARE).recruit([BRIEF], rng=random.Random(1))[0]


def test_the_longest_context_is_enough_even_if_its_expert_is_the_worst() -> None:
    (decision,) = make_router("best_single", POOL).recruit([LENGTHY], rng=random.Random(1))
    assert decision.expert_ids == ("long",)


def test_where_nobody_fits_the_engines_have_the_last_word() -> None:
    (decision,) = make_router("best_single", POOL).recruit([TOO_LONG], rng=random.Random(1))
    assert decision.expert_ids == ("short",)


def test_decisions_come_in_the_order_of_the_queries() -> None:
    batch = [LENGTHY, BRIEF, LENGTHY, BRIEF]
    decisions = make_router("best_single", POOL).recruit(batch, rng=random.Random(1))
    assert [d.expert_ids[0] for d in decisions] == ["long", "short", "long", "short"]


def down(*expert_ids: str) -> RouterContext:
    engines = frozenset(POOL.engine_id(expert_id) for expert_id in expert_ids)
    return POOL._replace(conditions=lambda: Conditions(down=engines))


@pytest.mark.parametrize("name", sorted(ROUTERS))
def test_nobody_is_recruited_whose_engine_no_device_can_load(name: str) -> None:
    (decision,) = make_router(name, down("short")).recruit([BRIEF], rng=random.Random(1))
    assert "short" not in decision.expert_ids
    assert decision.notes[-1] == "1 experts left out: their engine cannot be loaded"


def test_both_constraints_hold_at_once() -> None:
    (decision,) = make_router("best_single", down("long")).recruit([LENGTHY], rng=random.Random(1))
    assert decision.expert_ids == ("unknown",)
    assert decision.notes[-2:] == (
        "1 experts left out: their engine cannot be loaded",
        "1 experts left out: the query exceeds their context",
    )


def test_where_every_engine_is_down_calls_say_why() -> None:
    (decision,) = make_router("best_single", down(*SKILLS)).recruit([BRIEF], rng=random.Random(1))
    assert decision.expert_ids == ("short",)
    assert not [note for note in decision.notes if "left out" in note]


def test_an_engine_that_loads_again_is_recruited_again() -> None:
    engines = [frozenset({POOL.engine_id("short")}), frozenset[str]()]
    pool = POOL._replace(conditions=lambda: Conditions(down=engines[0]))
    router = make_router("best_single", pool)
    (before,) = router.recruit([BRIEF], rng=random.Random(1))
    engines.pop(0)
    (after,) = router.recruit([BRIEF], rng=random.Random(1))
    assert (before.expert_ids, after.expert_ids) == (("long",), ("short",))


def named(*expert_ids: str) -> RoutingInput:
    return BRIEF._replace(terms=Terms(experts=expert_ids))


@pytest.mark.parametrize("name", sorted(ROUTERS))
def test_nobody_is_recruited_whom_the_terms_leave_out(name: str) -> None:
    free, bound = make_router(name, POOL).recruit([BRIEF, named("long", "unknown")], rng=random.Random(1))
    asked = {*bound.expert_ids, *(r.expert_id for r in bound.reserves)}
    assert asked <= {"long", "unknown"}
    assert bound.notes[-1] == "1 experts left out: they may not be asked, or cannot do what is asked for"
    assert free == make_router(name, BARE).recruit([BRIEF], rng=random.Random(1))[0]


def test_terms_that_leave_nobody_are_refused() -> None:
    with pytest.raises(NoCapableExpertError, match="no expert that may be asked"):
        make_router("best_single", POOL).recruit([named("stranger")], rng=random.Random(1))


def test_who_may_be_asked_is_asked_even_where_only_others_have_the_room() -> None:
    lengthy = LENGTHY._replace(terms=Terms(experts=("short",)))
    (decision,) = make_router("best_single", POOL).recruit([lengthy], rng=random.Random(1))
    assert decision.expert_ids == ("short",)
