"""Strangers: experts that stand in calls on the books and not in this worker's pool file."""

from orchestrator.domain.assignments import INTERACTIVE, Assignment
from orchestrator.ports.clock import Clock
from orchestrator.settings.schema import SchedulerSettings

MOST_BESIDE = 256

REST_S = 5.0
"""An engine all of whose claimed calls were for strangers is left to other workers for so long."""


class Strangers:
    """Says for how long calls to experts that this worker does not know are left to those who do."""

    def __init__(self, settings: SchedulerSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
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

    def left(self, engine_id: str, n: int, *, of: int) -> None:
        """So many of the calls claimed for an engine were left: if all, the next claim comes later."""
        self._n_left[engine_id] = n
        if n and n == of:
            self._rests_until[engine_id] = self._clock() + REST_S

    def beside(self, engine_id: str) -> int:
        """Number to claim beside the others, since so many are likely to be left again."""
        return min(self._n_left.get(engine_id, 0), MOST_BESIDE)

    def crowds(self, engine_id: str) -> bool:
        """True while an engine is left to others for that."""
        return self._rests_until.get(engine_id, 0.0) > self._clock()
