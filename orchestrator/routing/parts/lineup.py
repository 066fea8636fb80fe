"""Order in which experts are asked.

Shapes: Q queries, E experts, K places.
"""

from collections.abc import Sequence

import numpy as np

from orchestrator.domain.cards import RIGHT, UNKNOWN, Profile
from orchestrator.routing.parts.deck import Floats, Ints
from orchestrator.routing.parts.draws import preference

_EPS = 1e-9


def line_up(worth: Floats, k: int, alike: Floats | None = None) -> Ints:
    """Rows of the best k <= E experts for each query, best first, [Q, K]; ties in pool order.

    Args:
        worth: [Q, E].
        alike: [E, E], what an expert is worth less behind another one; the largest such loss counts. None =
            nothing.
    """
    if alike is None:
        return preference(worth)[:, :k]
    queries = np.arange(len(worth))
    loss = np.zeros_like(worth)
    ranked = np.zeros((len(worth), k), dtype=np.int64)
    for place in range(k):
        picked = (worth - loss).argmax(axis=1)
        ranked[:, place] = picked
        loss = np.maximum(loss, alike[:, picked].T)
        loss[queries, picked] = np.inf
    return ranked


def in_shared_order(ranked: Ints, worth: Floats, rank: Ints, within: float) -> Ints:
    """The same experts of each query, asked in one order for all queries where that costs next to nothing.

    The next one asked is, of those that are worth at most `within` less than the best one left, the first in
    the shared order. So queries that come back for another answer come back to the same few engines.

    Args:
        ranked: [Q, K], best first.
        rank: place of each expert in the shared order, [E], all different.
        within: >= 0; 0 leaves the order as it is.
    """
    if within == 0:
        return ranked
    queries = np.arange(len(ranked))
    value = np.take_along_axis(worth, ranked, axis=1)
    left = np.ones(ranked.shape, dtype=bool)
    ordered = np.empty_like(ranked)
    for place in range(ranked.shape[1]):
        best = np.where(left, value, -np.inf).max(axis=1, keepdims=True)
        good = left & (value >= best - within - _EPS)
        column = np.where(good, rank[ranked], len(rank)).argmin(axis=1)
        ordered[:, place] = ranked[queries, column]
        left[queries, column] = False
    return ordered


def repeated_errors(profile: Profile, expert_ids: Sequence[str]) -> Floats:
    """Share of equal errors of two experts, of the questions on which one of them is wrong.

    [E, E], symmetric, in [0, 1]; 0 for pairs that were never measured together. In the same way: with the
    same answer where answers were kept, else simply both.
    """
    alike = np.zeros((len(expert_ids),) * 2)
    row = {expert_id: i for i, expert_id in enumerate(profile.expert_ids)}
    measured = [(i, row[expert_id]) for i, expert_id in enumerate(expert_ids) if expert_id in row]
    if measured:
        here, there = (np.array(rows, dtype=np.int64) for rows in zip(*measured, strict=True))
        alike[np.ix_(here, here)] = _repeated(profile)[np.ix_(there, there)]
    return alike


def _repeated(profile: Profile) -> Floats:
    known = profile.outcomes != UNKNOWN
    wrong = known & (profile.outcomes != RIGHT)
    said = _numbered(profile)
    alike = np.zeros((len(known), len(known)))
    for i in range(len(known)):
        both = wrong[i] & wrong & (said[i] == said)
        either = (wrong[i] | wrong) & known[i] & known
        alike[i] = both.sum(axis=1) / np.maximum(either.sum(axis=1), 1)
    return alike


def _numbered(profile: Profile) -> Ints:
    """Equal numbers for equal answers, [E, N]; all equal where answers were not kept."""
    if profile.transcript is None:
        return np.zeros(profile.outcomes.shape, dtype=np.int64)
    values = [value or "" for of_expert in profile.transcript.values for value in of_expert]
    _, numbers = np.unique(values, return_inverse=True)
    return np.asarray(numbers, dtype=np.int64).reshape(profile.outcomes.shape)
