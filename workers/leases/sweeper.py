"""Sweeper: what the dead held goes back to the queue."""

import logging
import math
from collections.abc import Collection

from orchestrator.domain.devices import FAILED_S, LIVE_S
from orchestrator.ports.clock import Clock
from orchestrator.ports.jobs import DeviceStore, LeaseStore, SweepReport
from workers.leases.owners import is_dead

log = logging.getLogger(__name__)


class Sweeper:
    """Sweeps for one process, for one thread at a time: leases of processes of this host that ended go back
    at once, others when they ran out.

    Whoever could not reach the database cannot tell the dead from those that could not renew their leases
    either: everybody gets `grace_s` after that, so that an outage burns no attempts.

    Args:
        grace_s: as long as a lease.
        harmless: engines by which no prompt can kill a worker: they run elsewhere.
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
    ) -> None:
        self._leases = leases
        self._devices = devices
        self._clock = clock
        self._grace_s = grace_s
        self._max_attempts = max_attempts
        self._harmless = harmless
        self._away_at = -math.inf

    def was_away(self) -> None:
        """The database could not be reached just now."""
        self._away_at = self._clock()

    def sweep(self) -> SweepReport:
        """One sweep.

        Raises:
            StoreUnavailableError: call `was_away`, and sweep again later.
        """
        self.bury_the_dead()
        if self._clock() - self._away_at < self._grace_s:
            return SweepReport()
        return self._leases.sweep(max_attempts=self._max_attempts, harmless=self._harmless)

    def bury_the_dead(self) -> None:
        """Processes of this host that ended need not be waited for. The attempt counts: they may have died
        of it."""
        for owner in filter(is_dead, self._leases.lease_owners()):
            buried = self._leases.bury(owner, max_attempts=self._max_attempts, harmless=self._harmless)
            log.info("owner %s is dead: %s", owner, buried)
        for report in (*self._devices.devices(LIVE_S), *self._devices.faults(FAILED_S)):
            if is_dead(report.owner):
                self._devices.forget_device(report.owner)
