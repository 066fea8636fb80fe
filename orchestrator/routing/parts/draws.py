"""Seeded drawing of recruits. A query's draw depends on the seed and its own content, never on its batch."""

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np

from orchestrator.domain.queries import Query
from orchestrator.routing.parts.deck import Floats, Ints

RARE_SHARE = 0.05
"""Experts with less than this share of a batch's recruits are trimmed (arXiv:2503.05641)."""


class ReplayRandom(random.Random):
    """A rng that repeats a stored decision: pass `ReplayRandom.of(decision.seed)` to `recruit`."""

    _stored = 0

    @classmethod
    def of(cls, seed: int) -> "ReplayRandom":
        """The rng for the `seed` that a decision records."""
        rng = cls()
        rng._stored = seed
        return rng

    def getrandbits(self, k: int) -> int:
        """The lowest `k` bits of the stored seed, however often it is asked."""
        return self._stored & ((1 << k) - 1)


def draw_seed(rng: random.Random) -> int:
    """32 bits that stand for the state of `rng`; a decision records them."""
    return rng.getrandbits(32)


def query_rng(seed: int, query: Query) -> random.Random:
    """The rng of one query under one seed: the same in whatever batch it comes."""
    return random.Random(f"{seed}:{query.content_hash}")


def gumbel_noise(rngs: Sequence[random.Random], n: int) -> Floats:
    """Noise, [R, n] for R rngs: added to log weights, the k largest are a weighted sample without
    replacement.

    Source: the Gumbel-top-k trick, arXiv:1903.06059.
    """
    uniform = np.array([[rng.random() for _ in range(n)] for rng in rngs]).reshape(len(rngs), n)
    return np.asarray(-np.log(-np.log(np.clip(uniform, 1e-12, 1 - 1e-12))))


def preference(score: Floats, first: Floats | None = None) -> Ints:
    """Rows of experts per query, best first, [Q, E]; ties in pool order.

    Args:
        score: [Q, E], larger is better.
        first: [Q, E], experts of a larger value precede all others whatever their score.
    """
    tier = np.zeros_like(score) if first is None else first
    return np.asarray(np.lexsort((-score, -tier), axis=1), dtype=np.int64)


def trim_rare(picks: list[list[int]], rngs: Sequence[random.Random], *, distinct: bool) -> list[list[int]]:
    """Drop experts that got under 5 % of the batch's recruits and re-draw their places.

    Places are re-drawn among the frequent experts in proportion to their recruits, as in the published
    code. At least as many experts stay as a query needs; `distinct` keeps a query's recruits different.
    """
    counts = Counter(row for of_query in picks for row in of_query)
    width = max((len(of_query) for of_query in picks), default=0)
    common = sorted(counts, key=lambda row: (-counts[row], row))
    floor = RARE_SHARE * counts.total()
    frequent = {row for i, row in enumerate(common) if counts[row] >= floor or (distinct and i < width)}
    frequent = frequent or set(common[:1])
    return [
        of_query if frequent.issuperset(of_query) else _redraw(of_query, frequent, counts, rng, distinct)
        for of_query, rng in zip(picks, rngs, strict=True)
    ]


def _redraw(
    of_query: list[int], frequent: set[int], counts: Counter[int], rng: random.Random, distinct: bool
) -> list[int]:
    kept = [row for row in of_query if row in frequent]
    while len(kept) < len(of_query):
        choice = sorted(frequent.difference(kept) if distinct else frequent)
        kept.append(rng.choices(choice, weights=[counts[row] for row in choice])[0])
    return kept
