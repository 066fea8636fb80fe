"""The bound by what one device can do at most: never above the best schedule, and above the other bounds."""

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from orchestrator.batching import Family, lower_bound_s, overlapped_bound_s, priced
from orchestrator.batching.devices import EQUAL, Device
from orchestrator.batching.priced import PRECISION, priced_bound_s
from tests.unit.orchestrator.batching.test_overlapped import Made, alternating_s, made_s, schedules


def orders(n: int) -> list[tuple[int, ...]]:
    """Every way to load some of n engines, or none, one after the other."""
    return [order for k in range(n + 1) for order in permutations(range(n), k)]


def ways(n: int, devices: Sequence[Device]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """What each device loads; where they are equal, in one order of the devices."""
    if all(device == EQUAL for device in devices):
        return iter(combinations_with_replacement(orders(n), len(devices)))
    return product(orders(n), repeat=len(devices))


def shortest_s(families: Sequence[Family], devices: Sequence[Device], *, hides: bool) -> float:
    """The best schedule there is: of every way to load, the best division of the work."""
    return min(_divided_s(families, devices, way, hides=hides) for way in ways(len(families), devices))


def _divided_s(
    families: Sequence[Family], devices: Sequence[Device], way: Sequence[Sequence[int]], *, hides: bool
) -> float:
    """Least time for given loads; variables: shares by place in the orders, and the time."""
    places = [(d, family) for d, order in enumerate(way) for family in order]
    if {family for _, family in places} != set(range(len(families))):
        return np.inf
    rows, late = [], []
    for d, order in enumerate(way):
        device = devices[d]
        loads = np.cumsum([device.load_s(families[e].engine_id, families[e].load_s) for e in order])
        for first in range(len(order)) if hides else [0] * bool(order):
            row = np.zeros(len(places) + 1)
            row[-1] = -1
            for ix, (where, family) in enumerate(places):
                if where == d and order.index(family) >= first:
                    row[ix] = device.work_s(families[family].engine_id, families[family].work_s)
            rows.append(row)
            late.append(-(loads[first] if hides else loads[-1]))
    whole = np.array([[f == family for _, f in places] + [False] for family in range(len(families))], float)
    cost = np.append(np.zeros(len(places)), 1.0)
    solved = linprog(cost, A_ub=np.array(rows), b_ub=late, A_eq=whole, b_eq=np.ones(len(families)))
    return float(solved.fun)


def test_hidden_loads_worked_by_hand() -> None:
    """Two devices. If both begin with a (10 s), they are idle until b is there at 40 s: 70 s. If one loads b
    first (30 s), the other b after a (40 s), they need (T - 30) + (T - 40) = 60: T = 65 s. That each begins
    with the cheapest load gives (80 + 20) / 2 = 50 s only, and b by itself 30 + 60 / 2 = 60 s."""
    families = [Family(10, 20, engine_id="a"), Family(30, 60, engine_id="b")]
    priced_s = priced_bound_s(families, devices=[EQUAL] * 2, hides=True)
    assert overlapped_bound_s(families, n_devices=2) == pytest.approx(60)
    assert priced_s == pytest.approx(65, rel=PRECISION)
    assert priced_s <= shortest_s(families, [EQUAL] * 2, hides=True) + 1e-6


def test_loads_before_work_worked_by_hand() -> None:
    """Two devices, families of 29 + 58, 11 + 129 and 6 + 104 s. Half of all is 168.5 s, but no families come
    to that: one is loaded twice, that of 6 s."""
    families = [Family(29, 58), Family(11, 129), Family(6, 104)]
    assert lower_bound_s(families, n_devices=2) == pytest.approx(168.5)
    assert priced_bound_s(families, devices=[EQUAL] * 2, hides=False) == pytest.approx(171.5, rel=PRECISION)


def test_nothing_to_do_takes_no_time_and_one_device_has_its_exact_bound() -> None:
    families = [Family(20, 30), Family(10, 40)]
    assert priced_bound_s([], devices=[EQUAL] * 3, hides=True) == 0
    assert priced_bound_s(families, devices=[EQUAL], hides=True) == overlapped_bound_s(families)
    assert priced_bound_s([Family(12, 0)] * 4, devices=[EQUAL] * 2, hides=True) == pytest.approx(24)


@pytest.mark.parametrize("hides", [True, False])
def test_an_engine_is_served_by_devices_that_hold_it(hides: bool) -> None:
    """The large ones fit one device of two: that bound is known, and is not lost."""
    families = [Family(10, 30, 8.0, "a"), Family(10, 30, 8.0, "b")]
    devices = [Device(memory_gib=16.0), Device(memory_gib=4.0)]
    assert priced_bound_s(families, devices=devices, hides=hides) == pytest.approx(70 if hides else 80)


@pytest.mark.parametrize("hides", [True, False])
def test_a_search_that_is_cut_off_still_bounds(hides: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    families = [Family(37, 105), Family(7, 127), Family(20, 108)]
    best = shortest_s(families, [EQUAL] * 2, hides=hides)
    monkeypatch.setattr(priced, "_MOST_ROWS", 1)
    assert priced_bound_s(families, devices=[EQUAL] * 2, hides=hides) <= best * (1 + 1e-6)


@pytest.mark.parametrize("hides", [True, False])
@pytest.mark.parametrize("devices", [[EQUAL] * 2, [EQUAL] * 3, [Device(2.0, 0.5), EQUAL]])
@settings(max_examples=8, deadline=None)
@given(costs=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 120)), min_size=1, max_size=2))
def test_no_schedule_of_a_small_case_is_shorter(
    costs: list[tuple[int, int]], devices: list[Device], hides: bool
) -> None:
    families = [Family(load_s, work_s) for load_s, work_s in costs]
    best = shortest_s(families, devices, hides=hides)
    assert priced_bound_s(families, devices=devices, hides=hides) <= best * (1 + 1e-6)


@settings(max_examples=10, deadline=None)
@given(made=schedules())
def test_no_schedule_of_different_devices_is_shorter(made: Made) -> None:
    families, devices, lists = made
    for hides, ended_s in ((True, made_s), (False, alternating_s)):
        longest_s = max(ended_s(stints, device) for stints, device in zip(lists, devices, strict=True))
        assert priced_bound_s(families, devices=devices, hides=hides) <= longest_s * (1 + 1e-6)
