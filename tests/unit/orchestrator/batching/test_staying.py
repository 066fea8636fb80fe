"""Who makes way on a device: cases worked by hand, and what holds for all."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batching.staying import (
    FORGET_S,
    Resident,
    leaving_order,
    sleep_level,
    who_leaves,
    worth_per_gib,
)

RESIDENTS = st.lists(
    st.builds(
        Resident,
        st.sampled_from("abcdefgh"),
        st.floats(0.1, 80),
        st.floats(0.1, 600),
        is_wanted=st.booleans(),
        is_busy=st.booleans(),
        idle_s=st.floats(0, 1e6),
    ),
    max_size=8,
    unique_by=lambda resident: resident.engine_id,
)


def ids(residents: Sequence[Resident] | None) -> list[str] | None:
    return None if residents is None else [resident.engine_id for resident in residents]


def test_worth_is_seconds_saved_per_gib() -> None:
    """30 s for 10 GiB: 3 where it is wanted, 1.5 as it falls idle, 0.75 after the time to forget."""
    wanted = Resident("a", 10, 30, is_wanted=True)
    assert worth_per_gib(wanted, total_gib=10) == 3.0
    assert worth_per_gib(wanted._replace(is_wanted=False), total_gib=10) == 1.5
    assert worth_per_gib(Resident("a", 10, 30, idle_s=FORGET_S), total_gib=10) == 0.75


def test_the_least_worth_per_gib_leaves_first_and_only_as_many_as_needed() -> None:
    """Halves of 30/10, 30/30 and 60/10: b leaves first; its 30 GiB are enough."""
    there = [Resident("a", 10, 30), Resident("b", 30, 30), Resident("c", 10, 60)]
    assert ids(leaving_order(there)) == ["b", "a", "c"]
    assert ids(who_leaves(there, need_gib=25, free_gib=0)) == ["b"]
    assert ids(who_leaves(there, need_gib=35, free_gib=0)) == ["b", "a"]
    assert ids(who_leaves(there, need_gib=25, free_gib=30)) == []


def test_a_small_one_stays_where_the_large_one_after_it_is_enough_alone() -> None:
    """2 s / 1 GiB leaves before 30 s / 10 GiB; the 10 GiB are enough without the 1."""
    there = [Resident("small", 1, 2), Resident("large", 10, 30)]
    assert ids(who_leaves(there, need_gib=9, free_gib=0)) == ["large"]


def test_engines_without_work_leave_before_those_with_work_and_these_before_busy_ones() -> None:
    there = [
        Resident("busy", 10, 1, is_wanted=True, is_busy=True),
        Resident("wanted", 10, 1, is_wanted=True),
        Resident("idle", 10, 600),
    ]
    assert ids(leaving_order(there)) == ["idle", "wanted", "busy"]


def test_what_does_not_fit_beside_spared_engines_waits() -> None:
    there = [Resident("a", 10, 30)]
    assert who_leaves(there, need_gib=20, free_gib=5, n_spared=1) is None
    assert ids(who_leaves(there, need_gib=15, free_gib=5, n_spared=1)) == ["a"]


def test_an_engine_of_any_estimate_may_be_alone() -> None:
    there = [Resident("a", 10, 30), Resident("b", 10, 20)]
    assert ids(who_leaves(there, need_gib=1e6, free_gib=5)) == ["b", "a"]
    assert ids(who_leaves(there, need_gib=None, free_gib=5)) == ["b", "a"]
    assert ids(who_leaves(there, need_gib=1, free_gib=None)) == ["b", "a"]
    assert who_leaves([], need_gib=None, free_gib=None) == ()


def test_the_users_number_is_kept() -> None:
    there = [Resident("a", 1, 30), Resident("b", 1, 20)]
    assert ids(who_leaves(there, need_gib=1, free_gib=100, most=1)) == ["b"]
    assert who_leaves([], need_gib=1, free_gib=100, n_spared=2, most=1) is None


@given(residents=RESIDENTS, need_gib=st.floats(0, 200), free_gib=st.floats(-20, 100))
def test_who_leaves_is_enough_and_none_of_them_can_be_spared(
    residents: list[Resident], need_gib: float, free_gib: float
) -> None:
    leaving = who_leaves(residents, need_gib=need_gib, free_gib=free_gib)
    assert leaving is not None
    freed = sum(resident.gib or 0.0 for resident in leaving)
    if len(leaving) == len(residents):
        return  # alone, whatever its size
    assert need_gib <= free_gib + freed
    for one in leaving:
        assert need_gib > free_gib + sum(r.gib or 0.0 for r in leaving if r is not one)


@given(residents=RESIDENTS, need_gib=st.floats(0, 200), free_gib=st.floats(-20, 100))
def test_a_wanted_engine_leaves_only_where_the_unwanted_together_are_not_enough(
    residents: list[Resident], need_gib: float, free_gib: float
) -> None:
    leaving = who_leaves(residents, need_gib=need_gib, free_gib=free_gib) or ()
    unwanted = sum(r.gib or 0.0 for r in residents if not r.is_wanted and not r.is_busy)
    if any(r.is_wanted and not r.is_busy for r in leaving):
        assert need_gib > free_gib + unwanted


@given(
    asked=st.lists(st.sampled_from("abcdef"), max_size=60),
    seed=st.integers(0, 2**32),
    room_gib=st.floats(1, 60),
)
def test_staying_never_takes_more_loads_than_one_resident(
    asked: list[str], seed: int, room_gib: float
) -> None:
    """Requests one after the other, sizes and loads by chance: who is kept saves loads, and costs none."""
    draw = random.Random(seed)
    sizes = {e: draw.uniform(0.5, 30) for e in "abcdef"}
    loads_s = {e: draw.uniform(1, 100) for e in "abcdef"}
    used: dict[str, int] = {}
    n_loads = 0
    for at, engine_id in enumerate(asked):
        if engine_id not in used:
            n_loads += 1
            there = [Resident(e, sizes[e], loads_s[e], idle_s=at - since) for e, since in used.items()]
            gone = who_leaves(
                there, need_gib=sizes[engine_id], free_gib=room_gib - sum(sizes[e] for e in used)
            )
            for resident in gone or ():
                del used[resident.engine_id]
        used[engine_id] = at
    changes = sum(1 for before, now in zip([None, *asked], asked, strict=False) if before != now)
    assert n_loads <= changes


@pytest.mark.parametrize(
    ("levels", "gib", "host_free_gib", "level"),
    [
        ((1, 2), 14.0, 64.0, 1),
        ((1, 2), 14.0, 14.5, 2),
        ((1,), 14.0, 14.5, None),
        ((1, 2), 14.0, None, 2),
        ((), 1.0, 64.0, None),
    ],
)
def test_weights_sleep_in_the_host_where_it_has_room_and_are_dropped_else(
    levels: tuple[int, ...], gib: float, host_free_gib: float | None, level: int | None
) -> None:
    assert sleep_level(levels, gib=gib, host_free_gib=host_free_gib) == level
