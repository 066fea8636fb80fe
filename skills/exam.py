"""The aggregator exam: can a model tell a right response from two wrong ones? (methods 1.4)"""

import random
from collections.abc import Mapping, Sequence

from orchestrator.domain.cards import RIGHT, WRONG
from orchestrator.domain.queries import Query
from orchestrator.ports.cards import OutcomeRow

N_WRONG = 2


def exam_query(query: Query, rows: Sequence[OutcomeRow], *, seed: int) -> Query | None:
    """The query with one right and two wrong recorded responses to choose from, shuffled.

    Source: Symbolic-MoE, arXiv:2503.05641, section 3.1 (aggregator selection). A question without a
    right or without two wrong responses is left out rather than filled up with empty text.

    Args:
        rows: the pool's graded responses to this query, in any order; abstentions are not used.
        seed: with the question it decides which responses are shown, and in which order.
    """
    right = _texts(rows, RIGHT)
    wrong = _texts(rows, WRONG)
    if not right or len(wrong) < N_WRONG:
        return None
    rng = random.Random(f"{seed}:{query.content_hash}")
    candidates = [rng.choice(right), *rng.sample(wrong, N_WRONG)]
    rng.shuffle(candidates)
    # A new Query, not a copy: a copy would keep the old one's cached content hash.
    return Query(**{**_fields(query), "id": f"{query.id[:500]}#exam", "candidates": tuple(candidates)})


def exam_queries(
    queries: Sequence[Query], rows: Mapping[str, Sequence[OutcomeRow]], *, seed: int
) -> list[Query]:
    """The exam of a profile set; `rows` holds the pool's graded responses by query hash."""
    made = (exam_query(query, rows.get(query.content_hash, ()), seed=seed) for query in queries)
    return [query for query in made if query is not None]


def _texts(rows: Sequence[OutcomeRow], outcome: int) -> list[str]:
    """Sorted by expert fingerprint, so that the pool file's order does not matter."""
    return [
        row.text
        for row in sorted(rows, key=lambda row: row.fingerprint)
        if row.outcome == outcome and row.text.strip()
    ]


def _fields(query: Query) -> dict[str, object]:
    return {name: getattr(query, name) for name in Query.model_fields}
