import pytest

from orchestrator.batching import Rates, plan
from tests.fakes.backlog import item

RATES = Rates({"a": 10.0, "b": 20.0, "judge": 5.0}, {"a": 100.0, "b": 100.0, "judge": 100.0})


def test_the_plan_of_one_device_adds_up() -> None:
    """a: 10 s load + 30 s work; b: 20 + 40; judge: 5 and nothing known to do yet. 105 s in all."""
    backlog = [item("a", tokens=3000), item("b", tokens=4000)]
    made = plan(backlog, resident=None, later=frozenset({"judge"}), rates=RATES)
    assert made.order == ("b", "a", "judge")
    assert made.loads_left == 3
    assert made.seconds_left == made.lower_bound_s == pytest.approx(105)


def test_the_plan_tells_the_bound_with_hidden_loads() -> None:
    """a: 10 + 30 s, b: 20 + 40, judge: 5 + 0. By Johnson's order a, b, judge: 10 s, then 70 s of work."""
    backlog = [item("a", tokens=3000), item("b", tokens=4000)]
    made = plan(backlog, resident=None, later=frozenset({"judge"}), rates=RATES)
    assert made.overlapped_bound_s == pytest.approx(80)


def test_a_resident_engine_costs_no_load_and_is_served_first() -> None:
    backlog = [item("a", tokens=3000), item("b", tokens=4000)]
    made = plan(backlog, resident="a", rates=RATES)
    assert (made.order, made.loads_left, made.seconds_left) == (("a", "b"), 1, pytest.approx(90))


def test_an_aggregator_that_is_also_an_expert_costs_one_load() -> None:
    backlog = [item("a", tokens=1000), item("judge", tokens=9000)]
    made = plan(backlog, resident=None, later=frozenset({"judge"}), rates=RATES)
    assert (made.order, made.loads_left) == (("a", "judge"), 2)


def test_the_plan_of_no_work_is_empty() -> None:
    assert plan([], resident=None, later=frozenset({"judge"})) == ((), 0, 0.0, 0.0, 0.0)


def test_two_devices_share_what_is_left() -> None:
    """a: 10 + 30 s, b: 20 + 40 s. One device each: 60 s. To be done before that b must be split, and its
    second load makes 120 device-seconds: 60 s again."""
    backlog = [item("a", tokens=3000), item("b", tokens=4000)]
    made = plan(backlog, resident=None, rates=RATES, n_devices=2)
    assert (made.loads_left, made.seconds_left) == (2, pytest.approx(60))
    assert made.lower_bound_s == pytest.approx(60)
