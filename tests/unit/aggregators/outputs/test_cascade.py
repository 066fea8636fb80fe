import pytest

from aggregators.outputs import make_aggregator
from aggregators.outputs.cascade import Cascade
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.answers import Decision
from orchestrator.domain.assignments import Ask, Done, Response
from orchestrator.ports.composing import Pace
from tests.fakes.ballots import context, expert, fails, says, state
from tests.fakes.decks import card, tally

ACCURACIES = {"big": 0.9, "middle": 0.8, "small": 0.6}


def priced() -> AggregatorContext:
    usd = {"big": 3.0, "middle": 2.0, "small": 1.0}
    cards = {
        name: card(name, {"x": tally(6, 4)}).replaced(cost_per_query=price, mean_latency_ms=5 - price)
        for name, price in usd.items()
    }
    return context([expert(name) for name in usd], cards)


def cascade(**options: object) -> Cascade:
    made = make_aggregator("cascade", priced(), {"vote": "weighted", **options})  # type: ignore[dict-item]
    assert isinstance(made, Cascade)
    return made


def opened(made: Cascade) -> Decision:
    asked = state(ACCURACIES)
    assert asked.decision is not None
    return made.opened(asked, asked.decision)


def ids(decision: Decision) -> list[list[str]]:
    return [[r.expert_id for r in part] for part in (decision.recruits, decision.reserves)]


def step(made: Cascade, decision: Decision, *responses: Response) -> Decision | Ask | Done:
    asked = state(ACCURACIES, responses=responses).model_copy(update={"decision": decision})
    return made.next(asked, responses)


def test_it_decides_whom_to_ask_and_when() -> None:
    assert isinstance(cascade(), Pace)


def test_the_cheapest_is_asked_first_and_the_others_wait_in_the_order_of_their_prices() -> None:
    assert ids(opened(cascade())) == [["small"], ["middle", "big"]]
    assert ids(opened(cascade(price="seconds"))) == [["big"], ["middle", "small"]]
    assert ids(opened(cascade(price="params"))) == [
        ["big"],
        ["middle", "small"],
    ]  # equal: as the router has it
    assert ids(opened(cascade(most=2))) == [["small"], ["middle"]]
    assert opened(cascade()).recruits[0].weight == 1


def test_the_usd_of_who_has_no_card_are_of_as_many_tokens_as_the_others_take() -> None:
    """Of (100 + 300) / 2 tokens in and out at .01 and .02: 6 USD; of 256 where nobody was measured: 7.68."""
    new = expert("new").model_copy(update={"input_cost_per_token": 0.01, "output_cost_per_token": 0.02})
    cards = {
        name: card(name, {"x": tally(6, 4)}).replaced(cost_per_query=usd, mean_tokens=tokens)
        for name, usd, tokens in (("dear", 7.0, 100.0), ("cheap", 5.0, 300.0))
    }
    pool = [expert("dear"), expert("cheap"), new]
    for known, usd in ((cards, 6.0), ({}, 7.68)):
        made = make_aggregator("cascade", context(pool, known), {"vote": "weighted"})
        assert isinstance(made, Cascade)
        assert made.price("new") == pytest.approx(usd)
        assert made.price("nobody") == 0.0


def test_an_answer_that_is_sure_enough_ends_it() -> None:
    """.6 · 3 / .4 = 4.5 to 3 for the other options: .6."""
    made = cascade(confidence=0.6)
    done = step(made, opened(made), says("small", "A"))
    assert isinstance(done, Done)
    assert (done.answer.value, done.answer.aggregator) == ("A", "cascade")
    assert done.answer.extras["cascade"] == {"asked": 1, "price": "usd"}


def test_an_answer_that_is_not_asks_the_next() -> None:
    made = cascade(confidence=0.7)
    more = step(made, opened(made), says("small", "A"))
    assert isinstance(more, Decision)
    assert ids(more) == [["small", "middle"], ["big"]]
    assert more.recruits[1].note == "asked next: confidence was 0.60"
    unread = step(made, opened(made), fails("small"))
    assert isinstance(unread, Decision)
    assert unread.recruits[1].note == "asked next: no readable answer yet"


def test_the_last_ends_it_however_unsure() -> None:
    made = cascade(confidence=1.0)
    decision = opened(made)
    responses = [says("small", "A"), says("middle", "B"), says("big", "C")]
    for n in range(1, 3):
        more = step(made, decision, *responses[:n])
        assert isinstance(more, Decision)
        decision = more
    done = step(made, decision, *responses)
    assert isinstance(done, Done)
    assert done.answer.value == "C"


def test_an_expert_that_is_recruited_twice_is_asked_once() -> None:
    asked = state(ACCURACIES)
    assert asked.decision is not None
    twice = asked.decision.model_copy(update={"recruits": asked.decision.recruits * 2})
    assert ids(cascade().opened(asked, twice)) == [["small"], ["middle", "big"]]
