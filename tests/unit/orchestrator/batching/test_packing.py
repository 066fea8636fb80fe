"""Schedules worked by hand, and what holds for all of them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batching.bounds import lower_bound_s
from orchestrator.batching.left import families_of, finish_s
from orchestrator.batching.packing import Need, Slot, Stint, pack


def drawn_need(engine_id: str, load_s: float, work_s: float) -> Need:
    return Need(engine_id, load_s, work_s)


def drawn_slot(engine_id: str | None, ready_s: float) -> Slot:
    return Slot(engine_id, ready_s)


NEEDS = st.lists(
    st.builds(drawn_need, st.sampled_from("abcdefgh"), st.floats(0, 60), st.floats(0.1, 300)),
    min_size=1,
    max_size=8,
    unique_by=lambda need: need.engine_id,
)
SLOTS = st.lists(
    st.builds(drawn_slot, st.sampled_from([None, *"abcd"]), st.floats(0, 30)), min_size=1, max_size=6
)


def test_whole_families_go_largest_first() -> None:
    """50, 30 and 20 s on two devices: 50 | 30 + 20."""
    packing = pack([Need("a", 10, 20), Need("b", 10, 40), Need("c", 10, 10)], [Slot(), Slot()])
    assert sorted(sum(p.load_s + p.work_s for p in slot) for slot in packing.stints) == [50, 50]
    assert finish_s(packing, [Slot(), Slot()]) == 50


def test_a_family_too_long_for_one_device_pays_for_two_loads() -> None:
    """10 + 90 s: two devices take 45 s each, 55 s with the load."""
    packing = pack([Need("a", 10, 90)], [Slot(), Slot()])
    assert packing.finish_s == pytest.approx(55, rel=0.01)
    assert all(slot[0].load_s == 10 for slot in packing.stints)


def test_the_engine_that_is_there_needs_no_load() -> None:
    packing = pack([Need("a", 10, 20)], [Slot("a")])
    assert packing.stints == ((Stint("a", 0.0, 20.0),),)


def test_a_loading_device_serves_only_when_it_has_loaded() -> None:
    """15 s until it has loaded, then 10 s of work; with a load of 30 s the other device is no help."""
    slots = [Slot("a", 15), Slot()]
    assert finish_s(pack([Need("a", 30, 10)], slots), slots) == pytest.approx(25, rel=0.01)


def test_no_work_is_an_empty_schedule() -> None:
    assert pack([], [Slot(), Slot("a", 3)]).stints == ((), ())


@given(needs=NEEDS, slots=SLOTS)
def test_packing_neither_loses_nor_invents_work(needs: list[Need], slots: list[Slot]) -> None:
    packing = pack(needs, slots)
    for need in needs:
        work = [p.work_s for stints in packing.stints for p in stints if p.engine_id == need.engine_id]
        assert math.fsum(work) == pytest.approx(need.work_s, abs=1e-6)


@given(needs=NEEDS, slots=SLOTS)
def test_every_piece_on_a_device_without_its_engine_pays_the_load(
    needs: list[Need], slots: list[Slot]
) -> None:
    load_s = {need.engine_id: need.load_s for need in needs}
    for slot, stints in zip(slots, pack(needs, slots).stints, strict=True):
        paid = {p.engine_id: p.load_s for p in stints}
        assert paid == {e: 0.0 if e == slot.engine_id else load_s[e] for e in paid}
        assert len(paid) == len(stints)


@given(needs=NEEDS, n_devices=st.integers(1, 6))
def test_no_schedule_is_below_the_bound_or_far_above(needs: list[Need], n_devices: int) -> None:
    """Far: all loads on every device and the work spread evenly would always do."""
    slots = [Slot()] * n_devices
    finish = finish_s(pack(needs, slots), slots)
    assert finish >= lower_bound_s(families_of(needs, slots), n_devices=n_devices) * (1 - 1e-9)
    assert finish <= 2 * (sum(n.load_s for n in needs) + sum(n.work_s for n in needs) / n_devices)


def test_several_engines_of_one_device_need_no_load_there() -> None:
    """20 s of a and 30 s of b where both are; a second device would load for 60 s."""
    slots = [Slot("a", beside=("b",)), Slot()]
    packing = pack([Need("a", 60, 20), Need("b", 60, 30)], slots)
    assert packing.stints == ((Stint("a", 0.0, 20.0), Stint("b", 0.0, 30.0)), ())


def test_an_engine_is_put_only_where_it_may_be_loaded() -> None:
    """Half of the work would fit the first device, whose pool does not have the engine."""
    slots = [Slot(serves=frozenset("b")), Slot(serves=frozenset("ab"))]
    packing = pack([Need("a", 1, 40)], slots)
    assert packing.stints[0] == ()
    assert [(p.engine_id, p.work_s) for p in packing.stints[1]] == [("a", 40)]


def test_room_that_is_no_more_than_rounding_is_not_filled_for_ever() -> None:
    """Gaps of 1e-14 s beside an engine without a load."""
    slots = [Slot("c", 0.1 + 0.2, hides=True), Slot("d", 0.3, hides=True)]
    needs = [Need("a", 0.0, 0.7), Need("b", 0.1, 1 / 3), Need("c", 0.0, 0.1), Need("d", 0.3, 0.2)]
    assert pack(needs, slots).finish_s < 2
