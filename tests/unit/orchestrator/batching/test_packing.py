"""Schedules worked by hand, and what holds for all of them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batching.bounds import lower_bound_s
from orchestrator.batching.left import families_of, finish_s
from orchestrator.batching.packing import Need, Piece, Seat, pack

NEEDS = st.lists(
    st.builds(Need, st.sampled_from("abcdefgh"), st.floats(0, 60), st.floats(0.1, 300)),
    min_size=1,
    max_size=8,
    unique_by=lambda need: need.engine_id,
)
SEATS = st.lists(st.builds(Seat, st.sampled_from([None, *"abcd"]), st.floats(0, 30)), min_size=1, max_size=6)


def test_whole_families_go_largest_first() -> None:
    """50, 30 and 20 s on two devices: 50 | 30 + 20."""
    packing = pack([Need("a", 10, 20), Need("b", 10, 40), Need("c", 10, 10)], [Seat(), Seat()])
    assert sorted(sum(p.load_s + p.work_s for p in seat) for seat in packing.pieces) == [50, 50]
    assert finish_s(packing, [Seat(), Seat()]) == 50


def test_a_family_too_long_for_one_device_pays_for_two_loads() -> None:
    """10 + 90 s: two devices take 45 s each, 55 s with the load."""
    packing = pack([Need("a", 10, 90)], [Seat(), Seat()])
    assert packing.finish_s == pytest.approx(55, rel=0.01)
    assert all(seat[0].load_s == 10 for seat in packing.pieces)


def test_the_engine_that_is_there_needs_no_load() -> None:
    packing = pack([Need("a", 10, 20)], [Seat("a")])
    assert packing.pieces == ((Piece("a", 0.0, 20.0),),)


def test_a_loading_device_serves_only_when_it_has_loaded() -> None:
    """15 s until it has loaded, then 10 s of work; with a load of 30 s the other device is no help."""
    seats = [Seat("a", 15), Seat()]
    assert finish_s(pack([Need("a", 30, 10)], seats), seats) == pytest.approx(25, rel=0.01)


def test_no_work_is_an_empty_schedule() -> None:
    assert pack([], [Seat(), Seat("a", 3)]).pieces == ((), ())


@given(needs=NEEDS, seats=SEATS)
def test_packing_neither_loses_nor_invents_work(needs: list[Need], seats: list[Seat]) -> None:
    packing = pack(needs, seats)
    for need in needs:
        work = [p.work_s for pieces in packing.pieces for p in pieces if p.engine_id == need.engine_id]
        assert math.fsum(work) == pytest.approx(need.work_s, abs=1e-6)


@given(needs=NEEDS, seats=SEATS)
def test_every_piece_on_a_device_without_its_engine_pays_the_load(
    needs: list[Need], seats: list[Seat]
) -> None:
    load_s = {need.engine_id: need.load_s for need in needs}
    for seat, pieces in zip(seats, pack(needs, seats).pieces, strict=True):
        paid = {p.engine_id: p.load_s for p in pieces}
        assert paid == {e: 0.0 if e == seat.engine_id else load_s[e] for e in paid}
        assert len(paid) == len(pieces)


@given(needs=NEEDS, n_devices=st.integers(1, 6))
def test_no_schedule_is_below_the_bound_or_far_above(needs: list[Need], n_devices: int) -> None:
    """Far: all loads on every device and the work spread evenly would always do."""
    seats = [Seat()] * n_devices
    finish = finish_s(pack(needs, seats), seats)
    assert finish >= lower_bound_s(families_of(needs, seats), n_devices=n_devices) * (1 - 1e-9)
    assert finish <= 2 * (sum(n.load_s for n in needs) + sum(n.work_s for n in needs) / n_devices)
