"""Free skill names to the vocabulary that the cards know (methods 1.2)."""

from collections.abc import Iterable, Sequence

import numpy as np

from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.skills import SkillTag, normalise_skill
from orchestrator.ports.skills import Embedder


class EmbeddingMatcher:
    """Same name first, else the nearest known skill by cosine. Source: arXiv:2503.05641, section 3.2.

    The known skills are embedded once, at the first name that is not among them.

    Args:
        floor: smallest similarity of a match, in [0, 1]; below it a skill is left out.
    """

    def __init__(self, embedder: Embedder, known_skills: Iterable[str], *, floor: float = 0.4) -> None:
        self._embedder = embedder
        self._known = {normalise_skill(name): name for name in known_skills}
        self._names = list(self._known.values())
        self._floor = floor
        self._vectors: FloatMatrix | None = None

    def match(self, tags: Sequence[Sequence[SkillTag]]) -> list[tuple[SkillTag, ...]]:
        unknown = sorted({t.name for ts in tags for t in ts if normalise_skill(t.name) not in self._known})
        near = self._nearest(unknown)
        return [self._matched(query_tags, near) for query_tags in tags]

    def _nearest(self, names: Sequence[str]) -> dict[str, tuple[str, float]]:
        """Unknown name -> nearest known one and its similarity, where that passes the floor."""
        if not names or not self._names:
            return {}
        if self._vectors is None:
            self._vectors = self._embedder.encode(self._names)
        similarity = self._embedder.encode(names) @ self._vectors.T
        best = similarity.argmax(axis=1)
        scores = similarity[np.arange(len(names)), best].tolist()
        return {
            name: (self._names[i], min(score, 1.0))
            for name, i, score in zip(names, best.tolist(), scores, strict=True)
            if score >= max(self._floor, 1e-6)
        }

    def _matched(self, tags: Sequence[SkillTag], near: dict[str, tuple[str, float]]) -> tuple[SkillTag, ...]:
        """Weight = the tag's weight times the similarity; of tags that meet in a skill the heaviest."""
        weights: dict[str, float] = {}
        for tag in tags:
            exact = self._known.get(normalise_skill(tag.name))
            match = (exact, 1.0) if exact is not None else near.get(tag.name)
            if match is not None:
                weights[match[0]] = max(weights.get(match[0], 0.0), tag.weight * match[1])
        heaviest = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
        return tuple(SkillTag(name=name, weight=weight) for name, weight in heaviest)
