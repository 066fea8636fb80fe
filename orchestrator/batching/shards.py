"""Shards: how much a device claims at once, and how work is counted before it has run."""

import math
from collections.abc import Iterable

from orchestrator.domain.assignments import Assignment, Call
from orchestrator.domain.queries import rough_tokens


def estimated_tokens(call: Call) -> int:
    """Tokens of the prompt, from its length, and of the longest output."""
    return rough_tokens(sum(m.n_chars for m in call.messages)) + call.sampling.expected_tokens


def group_by_engine(assignments: Iterable[Assignment]) -> dict[str, list[Assignment]]:
    """Batches: assignments by engine, both in first-seen order."""
    batches: dict[str, list[Assignment]] = {}
    for assignment in assignments:
        batches.setdefault(assignment.engine_id, []).append(assignment)
    return batches


def shard_size(
    *,
    per_s: float | None,
    target_s: float = 5.0,
    low: int = 16,
    high: int = 256,
    n_waiting: int | None = None,
    n_devices: int = 1,
) -> int:
    """Assignments to claim at once: `target_s` of work at the measured rate, within [low, high].

    Where several devices share an engine, at most half of one's share of what is left, so that shards
    shrink towards the end and the devices finish together (guided self-scheduling).

    Args:
        per_s: assignments finished per second; None before anything was measured.
        n_waiting: assignments of the engine that wait; None = not known.
        n_devices: devices that serve the engine, this one included.
    """
    if per_s is None:
        return low
    wanted = math.floor(per_s * target_s)
    if n_waiting is not None and n_devices > 1:
        wanted = min(wanted, math.ceil(n_waiting / (2 * n_devices)))
    return max(low, min(high, wanted))


MOST_SUSPECTS = 8


def retry_limit(limit: int, *, attempt: int) -> int:
    """Shard size for assignments already claimed `attempt` times without a result: an eighth of the
    shard, `MOST_SUSPECTS` at most, then one by one, so that a prompt that kills its engine ends alone."""
    if attempt == 0:
        return limit
    return max(1, min(MOST_SUSPECTS, limit >> 3)) if attempt == 1 else 1
