"""Strangers: experts that stand in calls on the books, and that this worker does not know or cannot ask."""

import math

from orchestrator.domain.assignments import INTERACTIVE, Assignment
from orchestrator.domain.devices import LIVE_S
from orchestrator.ports.clock import Clock
from orchestrator.ports.jobs import DeviceReader
from orchestrator.settings.schema import SchedulerSettings
from workers.leases.owners import loop_of

MOST_BESIDE = 256

REST_S = 5.0
"""An engine all of whose claimed calls were for strangers is left to other workers for so long."""


class Strangers:
    """Says for how long calls to experts that this worker does not know are left to those who do."""

    def __init__(
        self, settings: SchedulerSettings, clock: Clock, *, owner: str, devices: DeviceReader
    ) -> None:
        """Args: owner: of this worker's loop."""
        self._settings = settings
        self._clock = clock
        self._owner = owner
        self._devices = devices
        self._looked: dict[str, tuple[float, bool]] = {}
        self._met_at: dict[str, float] = {}
        self._rests_until: dict[str, float] = {}
        self._n_left: dict[str, int] = {}

    def is_left(self, assignment: Assignment) -> bool:
        """True to leave a call to others; False = nobody took it for as long as it may wait."""
        now = self._clock()
        since = self._met_at.setdefault(assignment.call.expert_id, now)
        is_urgent = assignment.priority >= INTERACTIVE
        limit_s = self._settings.engine_down_interactive_s if is_urgent else self._settings.engine_down_s
        return now - since <= limit_s

    def has_others(self, engine_id: str) -> bool:
        """True if another worker serves an engine as well."""
        now = self._clock()
        looked_at, found = self._looked.get(engine_id, (-math.inf, False))
        if now - looked_at > REST_S:
            found = any(
                engine_id in (report.serves or ()) and loop_of(report.owner) != self._owner
                for report in self._devices.devices(LIVE_S)
            )
            self._looked[engine_id] = now, found
        return found

    def left(self, engine_id: str, n: int, *, of: int) -> None:
        """So many of the calls claimed for an engine were left: if all, the next claim comes later.

        Args:
            n: number of those left, 0 to `of`.
            of: number of those claimed.
        """
        self._n_left[engine_id] = n
        if n and n == of:
            self._rests_until[engine_id] = self._clock() + REST_S

    def beside(self, engine_id: str) -> int:
        """Number to claim beside the others, since so many are likely to be left again."""
        return min(self._n_left.get(engine_id, 0), MOST_BESIDE)

    def crowds(self, engine_id: str) -> bool:
        """True while an engine is left to others for that."""
        return self._rests_until.get(engine_id, 0.0) > self._clock()
