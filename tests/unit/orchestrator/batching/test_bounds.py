import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batching import Family, bound_by_area_s, lower_bound_s


@pytest.mark.parametrize(
    ("families", "n_devices", "expected"),
    [
        # LB1: one device does it all.
        ([Family(10, 30), Family(20, 40)], 1, 100),
        # LB2: whoever serves the family loads it first, 20 + 10 / 2; LB1 = 15.
        ([Family(20, 10)], 2, 25),
        # LB6: 30 s of work with 10 s loads on two devices: one device needs 40, two need 25 each.
        ([Family(10, 30)], 2, 25),
        # LB6 above the others: two families of 10 + 30 on three devices. LB1 = 26.7, LB2 = 20. With
        # C < 40 both are split, so four loads are paid: 60 + 40 <= 3 C, C = 33.3.
        ([Family(10, 30), Family(10, 30)], 3, 100 / 3),
        ([], 2, 0),
    ],
)
def test_lower_bounds_worked_by_hand(families: list[Family], n_devices: int, expected: float) -> None:
    assert lower_bound_s(families, n_devices=n_devices) == pytest.approx(expected)


@given(
    families=st.lists(st.builds(Family, st.floats(0, 100), st.floats(0, 1000)), min_size=1, max_size=6),
    n_devices=st.integers(1, 4),
)
def test_no_bound_is_above_one_device_doing_everything(families: list[Family], n_devices: int) -> None:
    total = math.fsum(f.load_s + f.work_s for f in families)
    bound = lower_bound_s(families, n_devices=n_devices)
    assert total / n_devices * (1 - 1e-9) <= bound <= total * (1 + 1e-9)


def test_a_device_that_goes_away_leaves_its_seconds_to_the_others() -> None:
    """Two devices, one of which ends at 15 s. 10 s + 30 s on both needs 50 device-seconds: 35 + 15. Two
    such families, each whole on one device, need 80: 65 + 15."""

    def area_s(seconds: float) -> float:
        return seconds + min(seconds, 15)

    assert bound_by_area_s([Family(10, 30)], area_s=area_s, at_least=25) == pytest.approx(35)
    assert bound_by_area_s([Family(10, 30)] * 2, area_s=area_s, at_least=40) == pytest.approx(65)
