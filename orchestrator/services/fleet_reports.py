"""Reports of one process to the fleet: that it lives, with what, and how far its clock is off."""

import logging
import time
from collections.abc import Callable

from orchestrator.domain.fleet import REMEMBERED_S, ClockReading, ProcessReport, replaces
from orchestrator.errors import MusterError
from orchestrator.ports.clock import Clock
from orchestrator.ports.fleet import ProcessBooks
from orchestrator.runtime.rounds import Rounds

log = logging.getLogger(__name__)

REPORT_S = 5.0
N_READINGS = 3
"""Readings of the database's clock for one report: the one of the shortest round trip counts."""


def clock_reading(
    database_s: Callable[[], float], *, host_s: Clock = time.time, n: int = N_READINGS
) -> ClockReading:
    """Distance of this host's clock from the database's. Source: Cristian 1989: it is read in the middle of a
    round trip, so half of that is the error; of several readings the shortest is the best.

    The trip is measured by the same clock; one that is set meanwhile makes a reading that is not used.

    Args:
        n: readings, >= 1.

    Raises:
        StoreError: the database cannot be read.
    """
    readings = []
    for _ in range(n):
        began, there, ended = host_s(), database_s(), host_s()
        if ended >= began:
            readings.append(ClockReading(offset_s=(began + ended) / 2 - there, error_s=(ended - began) / 2))
    if not readings:  # it is being set just now
        return ClockReading(offset_s=host_s() - database_s(), error_s=REPORT_S)
    return min(readings, key=lambda reading: reading.error_s)


class FleetReports:
    """Tells of a process every `REPORT_S`, in a thread of its own, until `stop`.

    Args:
        report: what the process is at the moment; its clock is read here.
    """

    def __init__(
        self, store: ProcessBooks, report: Callable[[], ProcessReport], *, host_s: Clock = time.time
    ) -> None:
        self._store = store
        self._report = report
        self._host_s = host_s
        self._rounds = Rounds("muster-fleet", self.tell, every_s=REPORT_S)
        self._told: str | None = None

    def start(self) -> None:
        """Tell for the first time, and go on telling; idempotent. Never fails: it is told again soon."""
        self._rounds.round()
        self._rounds.start()

    def stop(self) -> None:
        """Say good-bye, so that nobody takes this process for lost, nor whomever it replaced; idempotent."""
        self._rounds.stop()
        told, self._told = self._told, None
        if told is None:
            return
        try:
            known = self._store.processes(REMEMBERED_S)
            own = [one for one in known if one.process == told]
            for gone in known:
                if any(replaces(one, gone) for one in own):
                    self._store.forget_process(gone.process)
            self._store.forget_process(told)
        except MusterError:  # it is told of as silent for a while
            log.debug("still on the list of processes", exc_info=True)

    def tell(self) -> None:
        """Report this process to the fleet once, with its clock read anew.

        Raises:
            StoreError: try again.
        """
        clock = clock_reading(self._store.clock_s, host_s=self._host_s)
        report = self._report().replaced(clock=clock)
        self._store.report_process(report)
        self._told = report.process
