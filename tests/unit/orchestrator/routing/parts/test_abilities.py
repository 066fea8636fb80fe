"""Who meets a query's demands, and what is paid for."""

import pytest

from orchestrator.domain.answers import Decision, Recruit
from orchestrator.domain.experts import Expert
from orchestrator.domain.features import Feature
from orchestrator.domain.queries import Message, Query
from orchestrator.domain.terms import NO_TERMS, SamplingExtras, Terms
from orchestrator.errors import NobodyCanError, TooDearError
from orchestrator.routing.parts.abilities import NO_DEMAND, Demand, able, cost, within
from tests.fakes.app import make_card, make_expert


def expert(name: str, *features: Feature, price: float = 0.0) -> Expert:
    update = {"features": frozenset(features), "output_cost_per_token": price}
    return make_expert(name).model_copy(update=update)


POOL = [
    ("plain", expert("plain")),
    ("caller", expert("caller", Feature.TOOLS, price=0.001)),
    ("scorer", expert("scorer", Feature.LOGPROBS)),
]


def names(demand: Demand) -> list[str]:
    return [name for name, _ in able(POOL, demand, {}, n_tokens=10)]


def test_terms_that_say_nothing_demand_nothing() -> None:
    assert Demand.of(Query(id="q", question="Why?"), NO_TERMS) == NO_DEMAND
    assert names(NO_DEMAND) == ["plain", "caller", "scorer"]


def test_a_begun_answer_demands_that_it_can_be_gone_on_with() -> None:
    begun = Query(id="q", question="Why?", after=(Message(role="assistant", content="Because"),))
    assert Demand.of(begun, NO_TERMS).needs == {Feature.PREFILL}


def test_each_extra_is_a_demand() -> None:
    extras = SamplingExtras(top_k=3, logit_bias=((1, 1.0),))
    assert Terms(extras=extras, logprobs=0).needs == {Feature.TOP_K, Feature.LOGIT_BIAS, Feature.LOGPROBS}


def test_only_who_can_is_left() -> None:
    assert names(Demand(needs=frozenset({Feature.TOOLS}))) == ["caller"]


def test_what_nobody_has_is_named() -> None:
    with pytest.raises(NobodyCanError) as nobody:
        names(Demand(needs=frozenset({Feature.TOOLS, Feature.MIN_P})))
    assert nobody.value.param == "min_p"


def test_what_no_one_of_them_has_together_is_refused() -> None:
    with pytest.raises(NobodyCanError):
        names(Demand(needs=frozenset({Feature.TOOLS, Feature.LOGPROBS})))


def test_who_is_too_dear_is_left_out_and_everybody_is_an_error() -> None:
    assert names(Demand(max_cost_usd=0.1)) == ["plain", "scorer"]
    with pytest.raises(TooDearError, match=r"muster\.max_cost_usd"):
        names(Demand(experts=("caller",), max_cost_usd=0.1))


def test_who_is_slow_by_its_card_is_left_out() -> None:
    slow = make_card("plain").model_copy(update={"mean_latency_ms": 5000.0})
    left = able(POOL, Demand(max_seconds=4.0), {"plain": slow}, n_tokens=10)
    assert [name for name, _ in left] == ["caller", "scorer"]


def test_cost_is_the_prompt_and_what_its_card_says_is_written() -> None:
    priced = make_expert("a").model_copy(
        update={"input_cost_per_token": 0.1, "output_cost_per_token": 1.0, "max_tokens": 7}
    )
    card = make_card("a").model_copy(update={"mean_tokens": 3.0})
    assert cost(priced, None, 10) == pytest.approx(8.0)
    assert cost(priced, card, 10) == pytest.approx(4.0)


def test_recruits_are_kept_as_long_as_they_are_paid() -> None:
    recruits = tuple(Recruit(expert_id=name, weight=1 / 3, score=0, accuracy=0.5) for name in "abc")
    decision = Decision(router="r", recruits=recruits, reserves=recruits[:1])
    kept = within(decision, {"a": 1.0, "b": 1.0, "c": 0.5}, 1.6)
    assert kept.expert_ids == ("a", "c")
    assert [r.weight for r in kept.recruits] == [0.5, 0.5]
    assert kept.reserves == ()
    assert within(decision, {}, 1.0) == decision
