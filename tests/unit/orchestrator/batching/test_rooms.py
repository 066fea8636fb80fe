"""Room on a device that loads one engine while it works for another."""

import math
from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batching.packing import Need, Slot, pack
from orchestrator.batching.rooms import HidingRoom, Room

UNTIL_S = 200.0
SECONDS = st.floats(0, 60).map(lambda s: round(s, 2))


class Part(NamedTuple):
    load_s: float
    work_s: float


PARTS = st.lists(st.builds(Part, SECONDS, SECONDS), max_size=5)


def done_s(parts: Sequence[Part], *, begins_s: float = 0.0, is_loading: bool = False) -> float:
    """When a device is done that holds two engines: a load begins when the engine before the last one has
    left, that is with the work of the last one."""
    free_s = begins_s
    load_may_s = begins_s if is_loading else 0.0
    for part in parts:
        work_from_s = max(free_s, load_may_s + part.load_s)
        free_s, load_may_s = work_from_s + part.work_s, work_from_s
    return free_s


def filled(parts: Sequence[Part], room: Room) -> list[Part]:
    """The parts that fit, in the order in which the room takes them."""
    taken: list[Part] = []
    for part in parts:
        if part.work_s <= room.gap(part.load_s):
            taken.insert(room.take(*part), part)
    return taken


def test_room_worked_by_hand() -> None:
    """Own work until 20 s. A load of 30 s: 70 s of work fit until 100 s. With 40 s put there, a load of 25 s
    comes first, and the other one from 25 to 55 s hides 30 s of its work; all is done at 95 s, so 35 s fit.
    One of 65 s comes last, from 30 to 95 s."""
    room = HidingRoom(100.0, 20.0, is_loading=False)
    assert (room.here(), room.gap(30.0)) == (80.0, 70.0)
    room.take(30.0, 40.0)
    assert (room.gap(25.0), room.gap(65.0)) == (35.0, 5.0)


def test_a_device_that_loads_begins_no_other_load() -> None:
    room = HidingRoom(100.0, 20.0, is_loading=True)
    assert (room.here(), room.gap(30.0)) == (80.0, 50.0)


def test_what_is_ahead_comes_before_any_other_load() -> None:
    """Ahead in 5 s, then 10 s of work; a load of 50 s begins with that work at 5 s, and 45 s are left."""
    room = HidingRoom(100.0, 0.0, is_loading=False)
    assert room.take_ahead(5.0, 10.0) == 0
    assert room.gap(50.0) == 45.0
    assert room.take(50.0, 45.0) == 1


@given(parts=PARTS, begins_s=SECONDS, is_loading=st.booleans())
def test_what_is_taken_is_done_in_time_on_a_device_that_holds_two(
    parts: list[Part], begins_s: float, is_loading: bool
) -> None:
    room = HidingRoom(UNTIL_S, begins_s, is_loading=is_loading)
    taken = filled(parts, room)
    assert done_s(taken, begins_s=begins_s, is_loading=is_loading) <= UNTIL_S + 1e-6


@given(parts=PARTS, load_s=SECONDS)
def test_as_much_fits_as_the_best_place_among_what_was_taken_leaves(parts: list[Part], load_s: float) -> None:
    room = HidingRoom(UNTIL_S, 0.0, is_loading=False)
    taken, gap_s = filled(parts, room), room.gap(load_s)

    def ends_s(work_s: float) -> float:
        places = range(len(taken) + 1)
        return min(done_s([*taken[:ix], Part(load_s, work_s), *taken[ix:]]) for ix in places)

    if gap_s < 0:
        assert ends_s(0.0) > UNTIL_S - 1e-6
    else:
        assert ends_s(gap_s) <= UNTIL_S + 1e-6
        assert ends_s(gap_s + 0.01) > UNTIL_S


@given(parts=PARTS.map(lambda parts: [part for part in parts if part.work_s > 0]))
def test_one_device_is_planned_between_the_best_order_and_nothing_hidden(parts: list[Part]) -> None:
    needs = [Need(str(ix), *part) for ix, part in enumerate(parts)]
    finish_s = pack(needs, [Slot(hides=True)]).finish_s
    best_s = min(done_s(order) for order in permutations(parts))
    plain_s = math.fsum(part.load_s + part.work_s for part in parts)
    assert best_s - 1e-6 <= finish_s <= plain_s * 1.01 + 1e-6


@given(parts=PARTS)
def test_without_hidden_loads_room_is_what_is_left(parts: list[Part]) -> None:
    room = Room(UNTIL_S, 10.0)
    taken = filled(parts, room)
    left_s = UNTIL_S - 10.0 - math.fsum(part.load_s + part.work_s for part in taken)
    assert room.here() == pytest.approx(left_s, abs=1e-6)
