"""The exact schedule against packing and bound; instances small enough to be solved in milliseconds."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.batching.bounds import lower_bound_s
from orchestrator.batching.exact import exact_plan
from orchestrator.batching.left import families_of, finish_s
from orchestrator.batching.packing import Need, Slot, pack
from orchestrator.errors import ConfigError


def drawn_need(engine_id: str, load_s: float, work_s: float) -> Need:
    return Need(engine_id, load_s, work_s)


NEEDS = st.lists(
    st.builds(drawn_need, st.sampled_from("abcd"), st.floats(1, 30), st.floats(1, 100)),
    min_size=1,
    max_size=4,
    unique_by=lambda need: need.engine_id,
)


def test_the_shortest_schedule_of_three_families_worked_by_hand() -> None:
    """Two devices; 60, 60 and 60 s with loads of 10 s. Whole families: 120 s. One split: 190 / 2 = 95 s."""
    needs = [Need("a", 10, 50), Need("b", 10, 50), Need("c", 10, 50)]
    made = exact_plan(needs, [Slot(), Slot()])
    assert made.finish_s == pytest.approx(95, rel=0.005)
    assert made.is_optimal


@settings(max_examples=15, deadline=None)
@given(needs=NEEDS, n_devices=st.integers(1, 3))
def test_it_is_never_worse_than_packing_nor_below_the_bound(needs: list[Need], n_devices: int) -> None:
    slots = [Slot()] * n_devices
    made = exact_plan(needs, slots, time_limit_s=0.5)
    bound = lower_bound_s(families_of(needs, slots), n_devices=n_devices)
    assert made.finish_s <= finish_s(pack(needs, slots), slots)
    assert bound * (1 - 1e-9) <= made.bound_s <= made.finish_s * (1 + 1e-9)
    assert finish_s(made.packing, slots) == made.finish_s


def test_nothing_to_do_takes_no_time() -> None:
    assert exact_plan([], [Slot()]).finish_s == 0


def test_without_or_tools_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(ConfigError, match=r"muster\[plan\]"):
        exact_plan([Need("a", 1, 1)], [Slot()])
