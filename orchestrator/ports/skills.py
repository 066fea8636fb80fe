"""Skills and grades: embedders, annotators, matchers, graders.

Shapes: Q queries, D embedding width.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from orchestrator.domain.assignments import (
    Ask,
    Response,
)
from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag


class Embedder(Protocol):
    """Text to unit vectors; caches by content."""

    name: str

    def encode(self, texts: Sequence[str]) -> FloatMatrix:
        """float32 [len(texts), D], rows of unit length, in order."""


class SkillMatcher(Protocol):
    """Maps free skill names to the vocabulary the cards know (methods 1.2)."""

    def match(self, tags: Sequence[Sequence[SkillTag]]) -> list[tuple[SkillTag, ...]]:
        """Per query: known skills, heaviest first, duplicates merged; below the floor = left out."""


class SkillAnnotator(Protocol):
    """Queries to skills. One that needs a model asks for calls first (methods 1.1)."""

    def calls(self, query: Query) -> Ask | None:
        """Generations needed before `annotate`, or None."""

    def annotate(
        self,
        queries: Sequence[Query],
        responses: Sequence[Sequence[Response]],
        *,
        vectors: FloatMatrix | None = None,
    ) -> list[tuple[SkillTag, ...]]:
        """Skills per query, heaviest first; empty = unknown.

        Args:
            responses: `responses[i]` answer `calls(queries[i])`.
            vectors: float32 [Q, D], the queries' texts by the pool's embedder; None = not embedded yet.
        """


class Grade(NamedTuple):
    """Grade of a response: RIGHT, WRONG, ABSTAINED or GRADED of `domain.cards`, with the reading. GRADED says
    that it is worth a score, which others give."""

    outcome: int
    value: str | None
    reason: str | None = None


class Grader(Protocol):
    """Reads, compares and grades answers of every answer type. Never guesses: unreadable = None."""

    def read(self, query: Query, response: Response) -> str | None:
        """Canonical answer stated by a response (choice: the letter); None = abstention."""

    def equivalent(self, query: Query, a: str, b: str) -> bool:
        """True if two canonical answers say the same."""

    def grade(self, query: Query, response: Response) -> Grade:
        """Grade against `query.answer`.

        Raises:
            SkillError: the query has no reference answer.
        """
