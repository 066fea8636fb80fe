import math

import pytest

from benchmarks.simulate import Liveness

LIVENESS = Liveness(report_s=5, live_s=15, lease_s=15, sweep_s=5)


@pytest.mark.parametrize(("dies_s", "until_s"), [(3.0, 15.0), (23.0, 35.0), (math.inf, math.inf)])
def test_a_device_counts_as_alive_for_15_s_after_its_last_report(dies_s: float, until_s: float) -> None:
    """It reports at 0, 5, 10, ...: its last reports are those of 0 and of 20 s."""
    assert LIVENESS.seen_until(dies_s) == until_s


def test_a_dead_devices_shard_comes_back_at_the_first_sweep_after_its_lease() -> None:
    """Claimed at 101 s, renewed at 106 and 111 s: the lease ends at 126 s, the next sweep is at 130 s.
    Without a renewal it ends at 116 s, and the sweep is at 120 s."""
    assert LIVENESS.returned_at(claimed_s=101, dies_s=113) == 130
    assert LIVENESS.returned_at(claimed_s=101, dies_s=102) == 120
