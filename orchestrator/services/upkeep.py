"""Upkeep: a thread beside a server that works alone; in the stack the beat does the same."""

from orchestrator.runtime.rounds import Rounds
from orchestrator.services.ended import EndedJobs

EVERY_S = 60.0


class Upkeep(Rounds):
    """Tidies every `every_s`, from `start` to `stop`."""

    def __init__(self, ended: EndedJobs, *, every_s: float = EVERY_S) -> None:
        super().__init__("muster-upkeep", self._tidy, every_s=every_s)
        self._ended = ended

    def _tidy(self) -> None:
        self._ended.tidy()
