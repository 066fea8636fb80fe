"""Splits of a replay set: the questions that are profiled on, and those of the test."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from orchestrator.domain.queries import Query
from orchestrator.errors import InputError, UnknownNameError
from orchestrator.evaluation.replay.sets import TEST, IntArray, ReplaySet, Split

PROFILE = "profile"
PROFILE_SHARE = 0.3
MAX_PROFILE = 2_000


def profile_names(replay: ReplaySet) -> tuple[str, ...]:
    """Profile sets that can be chosen, the largest last."""
    if not replay.splits:
        return (PROFILE,)
    sizes = {name: len(ids) for sets in replay.splits.values() for name, ids in sets.items() if name != TEST}
    return tuple(sorted(sizes, key=lambda name: (sizes[name], name)))


def split(replay: ReplaySet, *, seed: int, profile: str) -> Split:
    """The recorded split `seed<seed>`; a set without recorded splits is split here.

    Raises:
        UnknownNameError: no such profile set.
        InputError: no such seed, or too few questions to split.
    """
    if replay.splits:
        return _recorded(replay.splits, seed, profile)
    if profile != PROFILE:
        raise UnknownNameError("profile", profile, [PROFILE], param="profile")
    return seeded_split(replay.queries, seed=seed)


def _recorded(splits: Mapping[str, Mapping[str, IntArray]], seed: int, profile: str) -> Split:
    name = f"seed{seed}"
    if name not in splits:
        raise InputError(
            f"the replay set has no split '{name}'.", param="seeds", remedy=f"It has: {', '.join(splits)}."
        )
    sets = splits[name]
    if profile not in sets or profile == TEST:
        raise UnknownNameError("profile", profile, set(sets) - {TEST}, param="profile")
    return Split(sets[profile], sets[TEST])


def seeded_split(queries: Sequence[Query], *, seed: int) -> Split:
    """30 % of each domain's questions, at most 2,000 in all, to profile on; the others are the test.

    Questions without a domain count as one. Equal seed and questions, equal split.

    Raises:
        InputError: fewer than two questions.
    """
    if len(queries) < 2:
        raise InputError("one question cannot be split.", remedy="Record more questions.")
    by_domain: dict[str, list[int]] = defaultdict(list)
    for column, query in enumerate(queries):
        by_domain[query.domain or ""].append(column)
    rng = random.Random(seed)
    share = min(PROFILE_SHARE, MAX_PROFILE / len(queries))
    chosen: list[int] = []
    for domain in sorted(by_domain):
        columns = by_domain[domain]
        chosen += rng.sample(columns, round(share * len(columns)))
    profile = np.array(sorted(chosen) or [0], dtype=np.int64)
    return Split(profile, np.setdiff1d(np.arange(len(queries)), profile))
