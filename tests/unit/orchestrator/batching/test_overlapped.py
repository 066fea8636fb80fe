"""Bounds of schedules that hide loads, and of devices of different speed and memory."""

import math
from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batching import Family, lower_bound_s, overlapped_bound_s
from orchestrator.batching.bounds import johnson_order
from orchestrator.batching.devices import EQUAL, Device, Speeds

SECONDS = st.floats(0, 100).map(lambda s: round(s, 3))
FAMILIES = st.lists(
    st.builds(Family, SECONDS, SECONDS, st.sampled_from([0.0, 4.0, 9.0]), st.sampled_from("ab")),
    min_size=1,
    max_size=5,
)
SPEEDS = st.builds(Speeds, st.sampled_from([0.25, 1.0, 4.0]), st.sampled_from([0.25, 1.0, 4.0]))
DEVICES = st.lists(
    st.builds(
        Device,
        st.sampled_from([0.5, 1.0, 2.0]),
        st.sampled_from([0.5, 1.0, 3.0]),
        st.sampled_from([5.0, 10.0]),
        st.dictionaries(st.sampled_from("ab"), SPEEDS, max_size=2),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize(
    ("families", "n_devices", "expected"),
    [
        # Work outweighs loads: 10 s until the first is there, then 40 + 30 s without a gap.
        ([Family(20, 30), Family(10, 40)], 1, 80),
        # Loads outweigh work: 30 + 20 s of loads, and the work of the last, 5 s.
        ([Family(30, 10), Family(20, 5)], 1, 55),
        # One family hides nothing.
        ([Family(10, 1)], 1, 11),
        # What is resident is served while the other loads: 40 s, then 5 s.
        ([Family(0, 25), Family(40, 5)], 1, 45),
        # Two devices, each with a first load of 10 s: (40 + 40 + 2 * 10) / 2.
        ([Family(10, 40), Family(15, 40)], 2, 50),
        # Without the second family (25 - 10) * 2 = 30; with it (10 + 20) / 2 would be less.
        ([Family(10, 30), Family(0, 0)], 2, 25),
        # 20 + 10/2: whoever serves the family loads it first.
        ([Family(20, 10)], 2, 25),
        # Work of nothing: its load alone; four loads of 12 s on two devices.
        ([Family(12, 0)] * 4, 2, 24),
        ([], 3, 0),
    ],
)
def test_overlapped_bounds_worked_by_hand(families: list[Family], n_devices: int, expected: float) -> None:
    assert overlapped_bound_s(families, n_devices=n_devices) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("families", "devices", "alternating", "overlapped"),
    [
        # One device twice as fast at both: (20 + 40) / 2.
        ([Family(20, 40)], [Device(2, 2)], 30, 30),
        # Speeds 1 and 2, no loads: 90 / 3.
        ([Family(0, 30), Family(0, 60)], [EQUAL, Device(2)], 30, 30),
        # The large one fits the slow device only: its load takes 10 s, its work 40 / 0.5 = 80 s.
        ([Family(10, 40, 8.0), Family(10, 40, 1.0)], [Device(0.5, 1, 16.0), Device(4, 1, 4.0)], 90, 90),
        # Two large families fit one device of two: 10 + 30 + 10 + 30 there, and with hidden loads 10 + 60.
        ([Family(10, 30, 8.0)] * 2, [Device(memory_gib=16.0), Device(memory_gib=4.0)], 80, 70),
        # One fits nowhere: it counts where there is most memory.
        ([Family(10, 30, 99.0)], [Device(memory_gib=16.0), Device(memory_gib=4.0)], 40, 40),
    ],
)
def test_bounds_of_different_devices_worked_by_hand(
    families: list[Family], devices: list[Device], alternating: float, overlapped: float
) -> None:
    assert lower_bound_s(families, devices=devices) == pytest.approx(alternating)
    assert overlapped_bound_s(families, devices=devices) == pytest.approx(overlapped)


def test_an_engine_of_its_own_speeds_counts_with_these() -> None:
    """30 s of work at three times the speed, 20 s of load at half of it: 10 + 40."""
    device = Device(measured={"a": Speeds(3.0, 0.5)})
    assert lower_bound_s([Family(20, 30, engine_id="a")], devices=[device]) == pytest.approx(50)


def test_the_best_order_is_that_of_the_devices_own_seconds() -> None:
    """Loads of 4 s: b works for 2 s there, a for 1 s, so b comes first: 4 + 4 + 1 s, not 4 + 4 + 2."""
    device = Device(0.5, 0.5, measured={"a": Speeds(1.0, 0.25)})
    families = [Family(2, 1, engine_id="b"), Family(1, 1, engine_id="a")]
    assert overlapped_bound_s(families, devices=[device]) == pytest.approx(9)


def test_johnsons_order_worked_by_hand() -> None:
    """Loads shorter than their work first, the shortest load first; then the longest work first."""
    a, b, c, d = Family(3, 6), Family(7, 2), Family(4, 7), Family(5, 3)
    assert johnson_order([b, c, d, a]) == [a, c, d, b]


def made_s(order: Sequence[Family], device: Device = EQUAL) -> float:
    """Seconds of one device that loads in this order, and works in it as soon as it can."""
    loaded_s = done_s = 0.0
    for family in order:
        loaded_s += device.load_s(family.engine_id, family.load_s)
        done_s = max(done_s, loaded_s) + device.work_s(family.engine_id, family.work_s)
    return done_s


@given(families=FAMILIES)
def test_on_one_device_the_bound_is_the_best_of_all_orders(families: list[Family]) -> None:
    best = min(made_s(order) for order in permutations(families))
    assert overlapped_bound_s(families) == pytest.approx(best, abs=1e-6)


@given(families=FAMILIES)
def test_the_bound_of_one_device_is_at_least_what_the_docstring_derives(families: list[Family]) -> None:
    loads, work = [f.load_s for f in families], [f.work_s for f in families]
    derived = max(sum(work) + min(loads), sum(loads) + min(work))
    assert overlapped_bound_s(families) >= derived * (1 - 1e-9)


def alternating_s(order: Sequence[Family], device: Device = EQUAL) -> float:
    """Seconds of one device that loads or works."""
    return math.fsum(
        device.load_s(f.engine_id, f.load_s) + device.work_s(f.engine_id, f.work_s) for f in order
    )


Made = tuple[list[Family], list[Device], list[list[Family]]]
"""Families, devices, and what each device loads and does, in order."""


@st.composite
def schedules(draw: st.DrawFn) -> Made:
    """Families cut into parts that lie on devices which hold them, in any order."""
    families, devices = draw(FAMILIES), draw(DEVICES)
    lists: list[list[Family]] = [[] for _ in devices]
    most = max(device.memory_gib for device in devices)
    for family in families:
        holders = [ix for ix, d in enumerate(devices) if d.memory_gib >= min(family.memory_gib, most)]
        chosen = draw(st.lists(st.sampled_from(holders), min_size=1, unique=True))
        weights = [draw(st.floats(0.01, 1)) for _ in chosen]
        for ix, weight in zip(chosen, weights, strict=True):
            lists[ix].append(family._replace(work_s=family.work_s * weight / sum(weights)))
    return families, devices, [draw(st.permutations(stints)) for stints in lists]


@given(made=schedules())
def test_no_schedule_beats_a_bound(made: Made) -> None:
    families, devices, lists = made
    hidden_s = max(made_s(stints, d) for stints, d in zip(lists, devices, strict=True))
    plain_s = max(alternating_s(stints, d) for stints, d in zip(lists, devices, strict=True))
    assert overlapped_bound_s(families, devices=devices) <= hidden_s * (1 + 1e-9)
    assert lower_bound_s(families, devices=devices) <= plain_s * (1 + 1e-9)


@given(families=FAMILIES, n_devices=st.integers(1, 4))
def test_hiding_loads_never_raises_the_bound(families: list[Family], n_devices: int) -> None:
    plain = lower_bound_s(families, n_devices=n_devices)
    assert overlapped_bound_s(families, n_devices=n_devices) <= plain * (1 + 1e-9)


@given(families=FAMILIES, devices=DEVICES)
def test_with_different_devices_neither(families: list[Family], devices: list[Device]) -> None:
    plain = lower_bound_s(families, devices=devices)
    assert overlapped_bound_s(families, devices=devices) <= plain * (1 + 1e-9)


@given(families=FAMILIES, n_devices=st.integers(1, 4))
def test_equal_devices_are_bounded_alike_however_they_are_named(
    families: list[Family], n_devices: int
) -> None:
    """Twice the speed of everything halves the bounds."""
    for bound in (lower_bound_s, overlapped_bound_s):
        named = bound(families, n_devices=n_devices)
        assert bound(families, devices=[EQUAL] * n_devices) == pytest.approx(named, abs=1e-9)
        assert bound(families, devices=[Device(2, 2)] * n_devices) == pytest.approx(
            named / 2, rel=1e-6, abs=1e-6
        )


@given(
    families=FAMILIES,
    n_devices=st.integers(1, 4),
    more=st.builds(Family, SECONDS, SECONDS, st.just(0.0), st.just("c")),
    longer=st.sampled_from([Family(7, 0), Family(0, 7)]),
)
def test_more_to_do_never_lowers_a_bound_and_a_further_device_never_raises_it(
    families: list[Family], n_devices: int, more: Family, longer: Family
) -> None:
    """Of equal devices. With different ones weights are found by turns, and a change may find worse ones."""
    first = families[0]
    grown = first._replace(load_s=first.load_s + longer.load_s, work_s=first.work_s + longer.work_s)
    for bound in (lower_bound_s, overlapped_bound_s):
        before = bound(families, n_devices=n_devices)
        assert bound([*families, more], n_devices=n_devices) >= before * (1 - 1e-9)
        assert bound([grown, *families[1:]], n_devices=n_devices) >= before * (1 - 1e-9)
        assert bound(families, n_devices=n_devices + 1) <= before * (1 + 1e-9)
