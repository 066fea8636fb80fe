"""Recruit whose pilot questions are most like the query: RouterRetriever, arXiv:2409.02685."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field, JsonValue

from orchestrator.domain.answers import Decision
from orchestrator.domain.cards import FloatMatrix
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Router, RoutingInput
from orchestrator.routing.cluster import Clusters
from orchestrator.routing.parts.context import RouterContext, require_experts
from orchestrator.routing.parts.decisions import clamp
from orchestrator.routing.parts.deck import Floats, Ints
from orchestrator.routing.parts.draws import preference
from orchestrator.routing.parts.neighbours import Choice, LocalWriter, ProfileView

NO_PILOT = -1.0
"""Similarity of an expert that is best at nothing: below any other."""


class CentroidOptions(Options):
    """
    Args:
        k: experts to recruit.
        n_clusters: clusters of the profile; an expert has at most one pilot centroid in each.
        prior_strength: pseudo-observations that shrink a cluster's accuracy to the global one.
    """

    k: int = Field(default=3, ge=1, le=1000)
    n_clusters: int = Field(default=8, ge=1, le=10_000)
    prior_strength: float = Field(default=10.0, gt=0)


class CentroidRouter:
    """An expert's pilot centroids: for each cluster of the profile, the mean embedding of the questions it
    is best at. Experts are ranked by their mean cosine similarity to the query.

    Where it differs from the paper: clusters stand in for its data sets, and outcomes are right or wrong,
    so that among those who were right the most accurate one in the cluster counts as best.
    """

    name = "centroid"
    reads_text = True

    def __init__(self, context: RouterContext, options: CentroidOptions) -> None:
        self._view = ProfileView(self.name, context)
        self._prior_strength = options.prior_strength
        self._clusters = Clusters(self._view, options.n_clusters, seed=context.seed)
        self._k, notes = clamp(options.k, len(context.expert_ids))
        self._writer = LocalWriter(self._view, notes=notes)
        n_clusters = len(self._clusters.centroids)
        local = self._clusters.local(np.arange(n_clusters), prior_strength=options.prior_strength)
        best = best_experts(self._view.right, local.mean[self._clusters.labels])
        self._pilots, self._owners = pilot_centroids(self._view.embeddings, self._clusters.labels, best)

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        require_experts(self.name, self._view.expert_ids)
        del rng  # deterministic: the clusters are seeded once
        if not batch:
            return []
        vectors = self._view.vectors(batch)
        scores = mean_similarity(vectors @ self._pilots.T, self._owners, len(self._view.expert_ids))
        clusters = self._clusters.of(vectors)
        local = self._clusters.local(clusters, prior_strength=self._prior_strength)
        ranked = preference(scores)[:, : self._k + 1].tolist()
        choices = [self._choice(*row) for row in zip(ranked, scores.tolist(), strict=True)]
        return self._writer.write(batch, choices, local, self._clusters.names(clusters))

    def _choice(self, ranked: list[int], scores: list[float]) -> Choice:
        picks, left_out = ranked[: self._k], ranked[self._k :]
        if not left_out:
            return Choice(picks, None, scores, None)
        return Choice(picks, left_out[0], scores, _would_change(scores[picks[-1]], scores[left_out[0]]))


def _would_change(last: float, runner_up: float) -> str:
    if runner_up == NO_PILOT:
        return "is best at no profile question: one that it alone gets right would give it a pilot"
    return f"needs its pilot questions {max(last - runner_up, 0.0):.3f} more similar to the query"


def best_experts(right: Floats, local: Floats) -> Ints:
    """The expert that counts as best at each question, [N]; -1 where nobody was right.

    Args:
        right: [N, E], 1 = right.
        local: [N, E], accuracy around the question; ties go by pool order.
    """
    if not right.size:
        return np.full(len(right), -1, dtype=np.int64)
    best = np.where(right > 0, local, -1.0).argmax(axis=1)
    return np.where(right.any(axis=1), best, -1).astype(np.int64)


def pilot_centroids(points: FloatMatrix, clusters: Ints, best: Ints) -> tuple[FloatMatrix, Ints]:
    """Unit-length means of the questions of one cluster with the same best expert, float32 [P, D], and
    whose they are, [P].
    """
    groups = np.unique(np.stack([clusters, best], axis=1)[best >= 0], axis=0)
    means = [points[(clusters == c) & (best == e)].mean(axis=0) for c, e in groups]
    pilots = np.array(means, dtype=np.float32).reshape(len(groups), points.shape[1])
    length = np.linalg.norm(pilots, axis=1, keepdims=True)
    pilots /= np.where(length > 0, length, 1)
    return pilots, groups[:, 1].astype(np.int64)


def mean_similarity(similarity: FloatMatrix, owners: Ints, n_experts: int) -> Floats:
    """Mean over the pilots of each expert, [Q, E]; NO_PILOT where it has none.

    Args:
        similarity: [Q, P], cosine similarity to every pilot.
    """
    membership = np.eye(n_experts)[owners]
    counts = membership.sum(axis=0)
    mean = similarity.astype(np.float64) @ membership / np.maximum(counts, 1)
    # Further digits are noise of the batch's shape.
    return np.asarray(np.where(counts > 0, np.round(mean, 6), NO_PILOT))


def make(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """The `RouterFactory` of `centroid`: needs a profile."""
    return CentroidRouter(context, parse_options("router 'centroid'", CentroidOptions, options))
