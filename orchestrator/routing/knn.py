"""Recruit those who were right on the profile questions most like the query."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field, JsonValue

from orchestrator.domain.answers import Decision
from orchestrator.domain.cards import FloatMatrix
from orchestrator.options import Options, parse_options
from orchestrator.ports import Router, RoutingInput
from orchestrator.routing.context import RouterContext, require_experts
from orchestrator.routing.deck import Floats
from orchestrator.routing.neighbours import AccuracyDecider, LocalAccuracy, ProfileView

_CHUNK = 1024
"""Queries compared with the profile at once: bounds the memory to _CHUNK · N floats."""


class KnnOptions(Options):
    """
    Args:
        k: experts to recruit.
        n_neighbours: profile questions to look at.
        prior_strength: pseudo-observations that shrink the local accuracy to the global one.
    """

    k: int = Field(default=3, ge=1, le=1000)
    n_neighbours: int = Field(default=100, ge=1)
    prior_strength: float = Field(default=10.0, gt=0)


class KnnRouter:
    """Similarity-weighted accuracy over the nearest profile questions, shrunk to the global accuracy.

    A neighbour counts as much as its cosine similarity; all at the distance of the last one are in.
    """

    name = "knn"

    def __init__(self, context: RouterContext, options: KnnOptions) -> None:
        self._options = options
        self._view = ProfileView(self.name, context)
        self._decider = AccuracyDecider(self._view, k=options.k)
        self._n_neighbours = min(options.n_neighbours, len(self._view.embeddings))

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        require_experts(self.name, self._view.expert_ids)
        del rng  # deterministic
        if not batch:
            return []
        vectors = self._view.vectors(batch)
        counts = [self._counts(vectors[i : i + _CHUNK]) for i in range(0, len(vectors), _CHUNK)]
        right, n = (np.concatenate(parts) for parts in zip(*counts, strict=True))
        local = LocalAccuracy(right, n, prior=self._view.prior, prior_strength=self._options.prior_strength)
        label = f"the {self._n_neighbours} nearest profile questions"
        return self._decider.decide(batch, local, [label] * len(batch))

    def _counts(self, vectors: FloatMatrix) -> tuple[Floats, Floats]:
        """Right and measured answers of each expert among the neighbours, weighted by similarity; [Q, E]."""
        similarity = vectors @ self._view.embeddings.T
        last = similarity.shape[1] - self._n_neighbours
        threshold = np.partition(similarity, last, axis=1)[:, last, None]
        weight = np.where(similarity >= threshold, np.clip(similarity, 0, 1), 0).astype(np.float64)
        return weight @ self._view.right, weight @ self._view.known


def make(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    return KnnRouter(context, parse_options("router 'knn'", KnnOptions, options))
