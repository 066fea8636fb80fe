"""Leases that end all at once, and a clock that was set."""

import pytest

from orchestrator.ports.jobs import LeaseTimes
from tests.fakes.work import HandClock
from workers.leases.doubts import Doubts

GRACE_S = 15.0
HOUR_S = 3600.0


class Owners:
    """Owners whose leases end 15 s after they were renewed, by a database's clock that may be set."""

    def __init__(self, n: int) -> None:
        self.clock = HandClock()
        self.set_s = 0.0
        self.until = {f"o{i}": 0.0 for i in range(n)}
        self.doubts = Doubts(self.clock, grace_s=GRACE_S)
        self.renew(*self.until)

    def renew(self, *owners: str) -> None:
        self.until |= dict.fromkeys(owners, self.clock.now + self.set_s + GRACE_S)

    @property
    def times(self) -> LeaseTimes:
        return LeaseTimes(self.clock.now + self.set_s, dict(self.until))

    def look(self) -> tuple[bool, int]:
        return self.doubts.has_stepped(self.times), len(self.doubts.spared(self.times))


@pytest.mark.parametrize("step_s", [HOUR_S, 6.0])
def test_a_clock_that_was_set_forward_is_noticed_once(step_s: float) -> None:
    owners = Owners(2)
    assert owners.look() == (False, 0)
    owners.clock.now += 5
    owners.set_s = step_s
    assert owners.look()[0]
    owners.clock.now += 5
    owners.renew("o0", "o1")
    assert owners.look() == (False, 0)


def test_a_clock_that_was_set_back_ends_no_lease() -> None:
    owners = Owners(2)
    owners.look()
    owners.set_s = -HOUR_S
    assert owners.look() == (False, 0)


def test_a_clock_that_drifts_a_little_is_trusted() -> None:
    owners = Owners(2)
    for _ in range(10):
        assert not owners.look()[0]
        owners.clock.now += 5
        owners.set_s += 1


def test_whoever_looks_first_after_the_step_spares_everybody_for_a_lease() -> None:
    """Who lives renews within it; who does not is dead after it."""
    owners = Owners(4)
    owners.set_s = HOUR_S
    assert owners.look() == (False, 4)
    owners.clock.now += 5
    owners.renew("o0", "o1", "o2")
    assert owners.look() == (False, 1)
    owners.clock.now += 10
    owners.renew("o0", "o1", "o2")
    assert owners.look() == (False, 0)


def test_one_owner_among_several_that_live_is_dead_at_once() -> None:
    owners = Owners(4)
    owners.clock.now += 16
    owners.renew("o0", "o1", "o2")
    assert owners.look() == (False, 0)


def test_when_all_have_died_their_work_waits_for_one_lease_more() -> None:
    owners = Owners(3)
    owners.clock.now += 16
    assert owners.look() == (False, 3)
    owners.clock.now += 14.9
    assert owners.look() == (False, 3)
    owners.clock.now += 0.1
    assert owners.look() == (False, 0)


def test_the_dead_are_not_kept_alive_by_others_that_fall_behind_again_and_again() -> None:
    owners = Owners(4)
    owners.clock.now += 16
    for _ in range(3):
        assert owners.look()[1] == 4
        owners.clock.now += 5
    owners.renew("o1", "o2", "o3")
    owners.clock.now += 16
    assert owners.look()[1] == 3


def test_a_single_owner_is_not_doubted() -> None:
    owners = Owners(1)
    owners.clock.now += 16
    assert owners.look() == (False, 0)
