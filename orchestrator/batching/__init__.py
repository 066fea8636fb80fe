"""Batching: the engine a device serves next, how much it claims, and what the rest of the run will take.

Pure functions over the backlog: the device loop, the progress bar and the simulator decide alike.
"""

from orchestrator.batching.bounds import Family, bound_by_area_s, lower_bound_s, overlapped_bound_s
from orchestrator.batching.choosing import SEAT_FACTOR, EngineChoice, choose_ahead, choose_engine, is_time
from orchestrator.batching.devices import EQUAL, Device, Speeds
from orchestrator.batching.kinds import Kinds
from orchestrator.batching.left import plan
from orchestrator.batching.neighbours import ALONE, Neighbour, Neighbours
from orchestrator.batching.rates import DEFAULT_TOKENS_PER_S, NO_RATES, Rates
from orchestrator.batching.shards import (
    estimated_tokens,
    group_by_engine,
    retry_limit,
    shard_size,
)
from orchestrator.batching.timeline import JobPlan, PlanInput, Stay, job_plan

__all__ = [
    "ALONE",
    "DEFAULT_TOKENS_PER_S",
    "EQUAL",
    "NO_RATES",
    "SEAT_FACTOR",
    "Device",
    "EngineChoice",
    "Family",
    "JobPlan",
    "Kinds",
    "Neighbour",
    "Neighbours",
    "PlanInput",
    "Rates",
    "Speeds",
    "Stay",
    "bound_by_area_s",
    "choose_ahead",
    "choose_engine",
    "estimated_tokens",
    "group_by_engine",
    "is_time",
    "job_plan",
    "lower_bound_s",
    "overlapped_bound_s",
    "plan",
    "retry_limit",
    "shard_size",
]
