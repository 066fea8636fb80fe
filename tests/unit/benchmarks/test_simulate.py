import math

import pytest

from benchmarks.simulate import (
    KINDS,
    Call,
    Engine,
    Liveness,
    Simulation,
    Site,
    Workload,
    equal,
    hiding,
    right_estimates,
)

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


def test_whoever_sweeps_first_brings_it_back() -> None:
    """Its lease ends at 126 s. Sweeps at 0, 5, ..., at 2, 7, ... and at 1.5, 6.5, ...: 126.5 s."""
    several = LIVENESS._replace(sweeps_from_s=(0.0, 2.0, 1.5))
    assert several.returned_at(claimed_s=101, dies_s=113) == 126.5


def test_small_devices_are_given_no_engine_that_they_do_not_hold() -> None:
    """The simulation refuses a load that does not fit, so that the run ends is the proof."""
    engines = {"big": Engine("big", 60.0, 1.0), "small": Engine("small", 20.0, 1.0)}
    workload = Workload(engines, [Call("big")] * 40 + [Call("small")] * 40)
    site = Site([KINDS[0], KINDS[2]])
    result = Simulation(workload, site=site, estimates=right_estimates(workload)).run()
    assert engines["big"].memory_gib > KINDS[2].memory_gib
    assert result.makespan_s >= site.bound_s(workload)


def test_a_device_that_hides_loads_needs_the_first_load_and_all_work() -> None:
    """20 s until a is there, 40 s of its work, in which b loads for 30 s, and 40 s of b: 100 s."""
    engines = {"a": Engine("a", 20.0, 1.0), "b": Engine("b", 30.0, 1.0)}
    workload = Workload(engines, [Call("a")] * 40 + [Call("b")] * 40)
    result = Simulation(workload, site=hiding(1), estimates=right_estimates(workload)).run()
    assert (result.makespan_s, hiding(1).bound_s(workload)) == (pytest.approx(100), pytest.approx(100))
    assert Simulation(workload, site=equal(1), estimates=right_estimates(workload)).run().makespan_s == 130
