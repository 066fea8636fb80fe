"""A query as routers see it: its skills and its embedding."""

from collections.abc import Sequence

import numpy as np

from orchestrator.domain.assignments import (
    Ask,
    Response,
)
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag
from orchestrator.ports.composing import RoutingInput
from orchestrator.ports.skills import Embedder, SkillAnnotator, SkillMatcher
from orchestrator.questions.chats import text_read
from orchestrator.runtime.garbage import no_cycle_collection

_NO_VECTOR = np.zeros(0, dtype=np.float32)


class SkillReader:
    """Query text to matched skills and an embedding: the half of routing that needs no cards."""

    def __init__(
        self, annotator: SkillAnnotator, matcher: SkillMatcher | None, embedder: Embedder | None
    ) -> None:
        self._annotator = annotator
        self._matcher = matcher
        self._embedder = embedder

    def calls(self, query: Query) -> Ask | None:
        """Generations that the annotator needs before `read`; None = none."""
        return self._annotator.calls(query)

    @no_cycle_collection()
    def read(self, queries: Sequence[Query], responses: Sequence[Sequence[Response]]) -> list[RoutingInput]:
        """One routing input per query, in order; annotation and embedding run as one batch each,
        and each text is embedded once."""
        if not queries:
            return []
        vectors = self._embedder.encode([text_read(q) for q in queries]) if self._embedder else None
        tags = self._annotator.annotate(queries, responses, vectors=vectors)
        skills: Sequence[tuple[SkillTag, ...]] = self._matcher.match(tags) if self._matcher else tags
        return [
            RoutingInput(query, known, _NO_VECTOR if vectors is None else vectors[row])
            for row, (query, known) in enumerate(zip(queries, skills, strict=True))
        ]
