"""Sweeper: what the dead held goes back to the queue."""

import logging
import math
from collections.abc import Collection, Iterable

from orchestrator.domain.devices import LIVE_S
from orchestrator.ports.clock import Clock
from orchestrator.ports.jobs import DeviceStore, LeaseStore, SweepReport
from workers.leases.doubts import Doubts
from workers.leases.owners import is_dead

log = logging.getLogger(__name__)

LONGEST_LEASES = 2.0
"""A lease that ends later than after so many leases was given before the clock was set back."""

ENDING_S = 0.25


class Sweeper:
    """Sweeps for one process, for one thread at a time: leases of processes of this host that ended go back
    at once, others when they ran out.

    Whoever could not reach the database cannot tell the dead from those that could not renew their leases
    either: everybody gets `grace_s` after that, so that an outage burns no attempts. So it is when the
    database's clock was set (`Doubts`).

    Args:
        grace_s: as long as a lease.
        harmless: engines by which no prompt can kill a worker: they run elsewhere.
        ending_s: seconds of a sweep for jobs that end early.
    """

    def __init__(
        self,
        *,
        leases: LeaseStore,
        devices: DeviceStore,
        clock: Clock,
        grace_s: float,
        max_attempts: int,
        harmless: Collection[str] = (),
        ending_s: float = ENDING_S,
    ) -> None:
        self._leases = leases
        self._devices = devices
        self._clock = clock
        self._grace_s = grace_s
        self._max_attempts = max_attempts
        self._harmless = harmless
        self._ending_s = ending_s
        self._away_at = -math.inf
        self._doubts = Doubts(clock, grace_s=grace_s)

    def was_away(self) -> None:
        """The database could not be reached just now."""
        self._away_at = self._clock()

    def sweep(self) -> SweepReport:
        """One sweep.

        Raises:
            StoreUnavailableError: call `was_away`, and sweep again later.
        """
        times = self._leases.lease_times()
        self._bury(times.until_s)
        if self._doubts.has_stepped(times):
            self.was_away()
        spared = self._doubts.spared(times)
        if self._clock() - self._away_at < self._grace_s:
            return SweepReport()
        return self._leases.sweep(
            max_attempts=self._max_attempts,
            harmless=self._harmless,
            spared=spared,
            max_lease_s=LONGEST_LEASES * self._grace_s,
            for_s=self._ending_s,
        )

    def bury_the_dead(self) -> None:
        """Processes of this host that ended need not be waited for. The attempt counts: they may have died
        of it."""
        self._bury(self._leases.lease_times().until_s)

    def _bury(self, owners: Iterable[str]) -> None:
        for owner in filter(is_dead, sorted(owners)):
            buried = self._leases.bury(owner, max_attempts=self._max_attempts, harmless=self._harmless)
            log.info("owner %s is dead: %s", owner, buried)
        for report in (*self._devices.devices(LIVE_S), *self._devices.faults(LIVE_S)):
            if is_dead(report.owner):
                self._devices.forget_device(report.owner)
