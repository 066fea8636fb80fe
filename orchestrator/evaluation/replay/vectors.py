"""Vectors and labels of a replay set's questions: what it knows of them without asking a model."""

from collections.abc import Callable, Sequence

import numpy as np

from orchestrator.domain.assignments import Ask, Response
from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag, normalise_skill
from orchestrator.ports.skills import Embedder


class RecordedEmbedder:
    """Knows the vectors of the set's questions; other texts (names of skills) are embedded by `inner`.

    Args:
        texts: Q questions as routers read them.
        vectors: float32 [Q, D], unit rows.
        inner: made at the first text that is not among them.
    """

    name = "recorded"

    def __init__(self, texts: Sequence[str], vectors: FloatMatrix, inner: Callable[[], Embedder]) -> None:
        self._row = {text: row for row, text in enumerate(texts)}
        self._vectors = vectors
        self._inner = inner

    def encode(self, texts: Sequence[str]) -> FloatMatrix:
        rows = [self._row.get(text) for text in texts]
        known = np.array([row for row in rows if row is not None], dtype=np.int64)
        if len(known) == len(rows):
            return self._vectors[known]
        fresh = iter(self._inner().encode([t for t, row in zip(texts, rows, strict=True) if row is None]))
        return np.stack([next(fresh) if row is None else self._vectors[row] for row in rows])


class LabelAnnotator:
    """Skill = the question's label in its data set: an oracle, which no user's question comes with."""

    def calls(self, query: Query) -> Ask | None:
        del query
        return None

    def annotate(
        self,
        queries: Sequence[Query],
        responses: Sequence[Sequence[Response]],
        *,
        vectors: FloatMatrix | None = None,
    ) -> list[tuple[SkillTag, ...]]:
        del responses, vectors
        return [(SkillTag(name=normalise_skill(q.domain)),) if q.domain else () for q in queries]
