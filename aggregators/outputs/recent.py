"""Queries of a job that this process has stepped lately: what a batch teaches grows while it is answered.

Queries become ready a few at a time, as their responses come in; an aggregator that learns from those alone
would never see many. What is remembered here is no state: a process that starts anew learns anew. Ours:
docs/decisions/0031.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from orchestrator.ports.composing import InFlight

MOST_QUERIES = 512
"""Of a job; more teach little, and each is read again at every step."""

MOST_JOBS = 8


class Recent:
    """The last queries of the last jobs, for any number of threads.

    Args:
        most: queries of a job that are remembered, >= 1; a batch is never cut.
    """

    def __init__(self, *, most: int = MOST_QUERIES) -> None:
        self._most = most
        self._jobs: OrderedDict[str, OrderedDict[int, InFlight]] = OrderedDict()
        self._lock = threading.Lock()

    def joined(self, batch: Sequence[InFlight]) -> list[InFlight]:
        """The queries of a batch and those of its job that came before, by their ids; all are remembered.

        A query that comes again replaces what was remembered of it. A batch is of one job.
        """
        if not batch:
            return []
        with self._lock:
            known = self._of(batch[0][0].job_id)
            for state, responses in sorted(batch, key=lambda one: one[0].id):
                known.pop(state.id, None)
                known[state.id] = (state, responses)
            while len(known) > max(self._most, len(batch)):
                known.popitem(last=False)
            return [known[query_id] for query_id in sorted(known)]

    def _of(self, job_id: str) -> OrderedDict[int, InFlight]:
        known = self._jobs.setdefault(job_id, OrderedDict())
        self._jobs.move_to_end(job_id)
        while len(self._jobs) > MOST_JOBS:
            self._jobs.popitem(last=False)
        return known
