"""The clerk: a thread that works on batches, in a server that works alone or in workers that take steps."""

import time

from orchestrator.ports.clock import Clock
from orchestrator.runtime.rounds import Rounds
from orchestrator.services.batch_work import BatchWork
from orchestrator.services.files import FileDesk

LOOK_S = 0.5
TIDY_S = 60.0


class Clerk(Rounds):
    """Works on batches from `start` to `stop`, and deletes files whose time is over.

    A step that `stop` leaves is done again by whoever looks next.
    """

    def __init__(self, work: BatchWork, files: FileDesk, *, clock: Clock = time.monotonic) -> None:
        super().__init__("muster-clerk", self._step, every_s=LOOK_S)
        self._batches = work
        self._files = files
        self._clock = clock
        self._tidy_at = clock() + TIDY_S

    def _step(self) -> bool:
        """One step; whether there was one."""
        if self._clock() > self._tidy_at:
            self._tidy_at = self._clock() + TIDY_S
            self._files.tidy()
        return self._batches.run_one()
