"""Fair shares: how the jobs that wait for one engine divide its next shard.

Stride scheduling (Waldspurger and Weihl 1995): a job's turn is what it was served, divided by its weight,
and the job with the smallest turn is served next. A job that comes joins at the smallest turn that waits, so
that it neither owes nor is owed anything: a short job beside a long one is through after twice its own work.
"""

import heapq
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from orchestrator.domain.assignments import BACKGROUND, BATCH, INTERACTIVE


class Share(NamedTuple):
    """A job's work that waits for an engine: `n_waiting` assignments, and its `turn`."""

    job: int
    priority: int
    n_waiting: int
    turn: float


def rank_of(priority: int) -> int:
    """Work of a smaller rank is served before any of a larger one; batches share one, and what is in the
    background the last."""
    if priority >= INTERACTIVE:
        return -priority
    return BATCH if priority > BACKGROUND else -BACKGROUND


def weight_of(priority: int) -> int:
    """Assignments that a batch of this priority is served for each of one of priority `BATCH`."""
    return 1 if priority >= INTERACTIVE else 1 + max(0, priority - BATCH)


def divided(shares: Iterable[Share], limit: int) -> dict[int, int]:
    """The next `limit` assignments by job: how many each gets; those that get none are left out."""
    known = {share.job: share for share in shares if share.n_waiting > 0}
    if len(known) == 1:
        return {job: min(share.n_waiting, limit) for job, share in known.items()}
    turns = [(share.turn, share.job) for share in known.values()]
    heapq.heapify(turns)
    given: Counter[int] = Counter()
    while turns and given.total() < limit:
        turn, job = heapq.heappop(turns)
        given[job] += 1
        if given[job] < known[job].n_waiting:
            heapq.heappush(turns, (turn + 1 / weight_of(known[job].priority), job))
    return dict(given)
