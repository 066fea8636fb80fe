"""A process that only takes steps, as it stands among the devices: with its configuration."""

import logging
import math
import socket
import threading
import time

from orchestrator.domain.devices import STEPS, DeviceReport
from orchestrator.errors import MusterError
from orchestrator.ports.clock import Clock
from orchestrator.ports.jobs import DeviceStore
from workers.leases.owners import new_owner

log = logging.getLogger(__name__)

REPORT_S = 5.0


class StepsPlace:
    """Tells that this process lives, and what it runs with; for any thread."""

    def __init__(self, devices: DeviceStore, *, config_hash: str, clock: Clock = time.monotonic) -> None:
        self._devices = devices
        self._clock = clock
        self._report = DeviceReport(
            owner=new_owner(), device=STEPS, host=socket.gethostname(), config_hash=config_hash, serves=()
        )
        self._reported_at = -math.inf
        self._lock = threading.Lock()

    def report(self) -> None:
        """Every `REPORT_S` at most.

        Raises:
            StoreUnavailableError: try again.
        """
        with self._lock:
            if self._clock() - self._reported_at < REPORT_S:
                return
            self._devices.report_device(self._report)
            self._reported_at = self._clock()

    def sign_off(self) -> None:
        """Nobody counts on this process any more; never fails."""
        try:
            self._devices.forget_device(self._report.owner)
        except MusterError:  # it grows old and is left out all the same
            log.debug("still on the list of devices", exc_info=True)
