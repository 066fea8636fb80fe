"""Steady routers: a conversation's experts stay while these are about as good."""

import random
from collections.abc import Sequence

import pytest

from orchestrator.domain.answers import Decision, Recruit
from orchestrator.domain.devices import Conditions
from orchestrator.domain.terms import Terms
from orchestrator.ports.composing import RoutingInput
from orchestrator.routing import ROUTERS, RouterContext, make_router
from orchestrator.routing.parts.steady import steadied
from tests.fakes.app import make_expert
from tests.fakes.decks import deck, profile, routing_input, tally

SKILLS = {
    "best": {"any": tally(9, 1)},
    "near": {"any": tally(8, 2)},
    "far": {"any": tally(1, 9)},
}
OUTCOMES = {"best": [1, 1, 1, 1], "near": [1, 1, 1, 0], "far": [0, 0, 0, 0]}
POINTS = [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.0, 1.0)]
CONTEXT: RouterContext = deck(SKILLS, profile=profile(OUTCOMES, POINTS))._replace(
    experts={name: make_expert(name) for name in SKILLS}
)


def chosen(
    router: str, kept: Sequence[str], *, context: RouterContext = CONTEXT, terms: Terms | None = None
) -> Decision:
    item = routing_input("What now?")._replace(kept=tuple(kept), terms=terms or Terms())
    (decision,) = make_router(router, context, {"k": 1} if router == "knn" else None).recruit(
        [item], rng=random.Random(1)
    )
    return decision


def recruit(name: str, accuracy: float, weight: float = 1.0) -> Recruit:
    return Recruit(expert_id=name, weight=weight, score=accuracy, accuracy=accuracy)


def decision(
    *recruits: Recruit, reserves: Sequence[Recruit] = (), runner_up: Recruit | None = None
) -> Decision:
    return Decision(router="r", recruits=recruits, reserves=tuple(reserves), runner_up=runner_up)


def test_the_experts_of_the_last_turn_stay_while_they_lack_little() -> None:
    fresh, held = decision(recruit("a", 0.9)), decision(recruit("b", 0.85))
    staying = steadied(fresh, held, ["b"], within=0.06)
    assert staying.expert_ids == ("b",)
    assert staying.notes == ("the conversation's experts stay: 0.05 less accurate than the best",)


def test_they_are_left_where_they_lack_more() -> None:
    fresh, held = decision(recruit("a", 0.9)), decision(recruit("b", 0.7))
    left = steadied(fresh, held, ["b"], within=0.1)
    assert left.expert_ids == ("a",)
    assert left.notes == ("the conversation's experts were left: 0.20 less accurate than those chosen",)


def test_a_choice_that_would_be_made_anyhow_is_left_as_it_is() -> None:
    fresh = decision(recruit("a", 0.9))
    assert steadied(fresh, decision(recruit("a", 0.9)), ["a"], within=0.1) is fresh


def test_numbers_of_recruits_and_reserves_are_the_routers_and_weights_sum_to_one() -> None:
    """Of two recruits one is kept; the other kept one is asked second, and those left out are next."""
    fresh = decision(recruit("a", 0.9, 0.5), recruit("b", 0.9, 0.5), reserves=[recruit("c", 0.8, 0.4)])
    held = decision(recruit("d", 0.8, 0.6), reserves=[recruit("c", 0.8, 0.4)])
    staying = steadied(fresh, held, ["d", "c"], within=0.2)
    assert staying.expert_ids == ("d", "c")
    assert [r.weight for r in staying.recruits] == pytest.approx([0.6, 0.4])
    assert [r.expert_id for r in staying.reserves] == ["a"]


def test_who_is_asked_is_no_runner_up() -> None:
    fresh = decision(recruit("a", 0.9), runner_up=recruit("b", 0.85, 0.0))
    assert steadied(fresh, decision(recruit("b", 0.85)), ["b"], within=0.1).runner_up is None


def test_the_router_stays_and_leaves_by_its_own_numbers() -> None:
    anew = chosen("best_single", ())
    assert anew.expert_ids == ("best",)
    assert chosen("best_single", ["near"], context=CONTEXT._replace(within=0.3)).expert_ids == ("near",)
    assert chosen("best_single", ["far"], context=CONTEXT._replace(within=0.3)).expert_ids == ("best",)
    assert chosen("best_single", ["near"], context=CONTEXT._replace(within=0.0)).expert_ids == ("best",)


def test_a_conversation_escapes_from_an_expert_that_is_down() -> None:
    down = CONTEXT._replace(within=1.0, conditions=lambda: Conditions(down=frozenset({"near-engine"})))
    assert chosen("best_single", ["near"], context=down).expert_ids == ("best",)
    assert chosen("best_single", ["near", "far"], context=down).expert_ids == ("far",)


def test_a_conversation_escapes_from_an_expert_whose_context_is_full() -> None:
    near = make_expert("near")
    short = near.model_copy(update={"engine": near.engine.model_copy(update={"max_model_len": 2})})
    full = CONTEXT._replace(within=1.0, experts={**CONTEXT.experts, "near": short})
    assert chosen("best_single", ["near"], context=full).expert_ids == ("best",)


def test_a_conversation_escapes_from_whom_the_terms_leave_out() -> None:
    bound = CONTEXT._replace(within=1.0)
    terms = Terms(experts=("best", "far"))
    assert chosen("best_single", ["near"], context=bound, terms=terms).expert_ids == ("best",)
    assert chosen("best_single", ["far"], context=bound, terms=terms).expert_ids == ("far",)


def test_who_left_the_pool_is_not_kept() -> None:
    assert chosen("best_single", ["gone"], context=CONTEXT._replace(within=1.0)).expert_ids == ("best",)


@pytest.mark.parametrize("name", sorted(ROUTERS))
def test_every_router_takes_turns_of_conversations(name: str) -> None:
    """Those without a last turn are decided as if none were there."""
    items = [routing_input("What now?"), routing_input("And then?")._replace(kept=("near",))]
    context = CONTEXT._replace(within=1.0)
    router = make_router(name, context)
    first, second = router.recruit(items, rng=random.Random(1))
    alone: Sequence[RoutingInput] = [items[0], items[1]._replace(kept=())]
    assert first == make_router(name, context).recruit(alone, rng=random.Random(1))[0]
    if len(set(second.expert_ids)) == len(second.expert_ids):
        assert second.expert_ids[0] == "near"
