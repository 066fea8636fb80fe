"""Recruit those who are best on the query's cluster of profile questions: Avengers, arXiv:2505.19797."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field, JsonValue

from orchestrator.domain.answers import Decision
from orchestrator.domain.cards import FloatMatrix
from orchestrator.options import Options, parse_options
from orchestrator.ports import Router, RoutingInput
from orchestrator.routing.context import RouterContext, require_experts
from orchestrator.routing.deck import Ints
from orchestrator.routing.neighbours import AccuracyDecider, LocalAccuracy, ProfileView

N_RESTARTS = 4
MAX_ROUNDS = 50


class ClusterOptions(Options):
    """
    Args:
        k: experts to recruit.
        n_clusters: clusters of the profile, at most one per profile question.
        prior_strength: pseudo-observations that shrink a cluster's accuracy to the global one.
    """

    k: int = Field(default=3, ge=1, le=1000)
    n_clusters: int = Field(default=8, ge=1, le=10_000)
    prior_strength: float = Field(default=10.0, gt=0)


class ClusterRouter:
    """Where it differs from the paper: accuracies are shrunk, and one clustering is used, not several."""

    name = "cluster"
    reads_text = True

    def __init__(self, context: RouterContext, options: ClusterOptions) -> None:
        self._options = options
        self._view = ProfileView(self.name, context)
        self._decider = AccuracyDecider(self._view, k=options.k)
        self._centroids = k_means(self._view.embeddings, options.n_clusters, seed=context.seed)
        members = np.eye(len(self._centroids))[nearest(self._view.embeddings, self._centroids)]
        self._right = members.T @ self._view.right
        self._known = members.T @ self._view.known

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        require_experts(self.name, self._view.expert_ids)
        del rng  # deterministic: the clusters are seeded once
        if not batch:
            return []
        clusters = nearest(self._view.vectors(batch), self._centroids)
        local = LocalAccuracy(
            self._right[clusters],
            self._known[clusters],
            prior=self._view.prior,
            prior_strength=self._options.prior_strength,
        )
        n = len(self._centroids)
        return self._decider.decide(batch, local, [f"profile cluster {c + 1} of {n}" for c in clusters])


def nearest(points: FloatMatrix, centroids: FloatMatrix) -> Ints:
    """Index of the nearest centroid (Euclidean) of each point, [len(points)]."""
    distance = (centroids**2).sum(axis=1) - 2 * points @ centroids.T
    return np.asarray(distance.argmin(axis=1), dtype=np.int64)


def k_means(points: FloatMatrix, n_clusters: int, *, seed: int) -> FloatMatrix:
    """Lloyd's algorithm from k-means++ starts; the tightest of a few runs.

    Args:
        points: float32 [N, D].
        n_clusters: reduced to N where it is larger.

    Returns:
        Centroids, float32 [C, D]; the same seed gives the same ones.
    """
    rng = np.random.default_rng(seed)
    n_clusters = min(n_clusters, len(points))
    runs = [_lloyd(points, _plus_plus(points, n_clusters, rng)) for _ in range(N_RESTARTS)]
    return min(runs, key=lambda centroids: _spread(points, centroids))


def _plus_plus(points: FloatMatrix, n_clusters: int, rng: np.random.Generator) -> FloatMatrix:
    """Starts far from one another: each next with probability proportional to its squared distance."""
    starts = [points[rng.integers(len(points))]]
    while len(starts) < n_clusters:
        distance = _squared_distance(points, np.array(starts)).min(axis=1)
        total = distance.sum()
        chance = distance / total if total > 0 else None
        starts.append(points[rng.choice(len(points), p=chance)])
    return np.array(starts, dtype=np.float32)


def _lloyd(points: FloatMatrix, centroids: FloatMatrix) -> FloatMatrix:
    labels = nearest(points, centroids)
    for _ in range(MAX_ROUNDS):
        centroids = _means(points, labels, centroids)
        moved = nearest(points, centroids)
        if np.array_equal(moved, labels):
            break
        labels = moved
    return centroids


def _means(points: FloatMatrix, labels: Ints, centroids: FloatMatrix) -> FloatMatrix:
    """Mean of each cluster; an empty one stays where it is."""
    members = np.eye(len(centroids), dtype=np.float32)[labels]
    counts = members.sum(axis=0)[:, None]
    return np.where(counts > 0, members.T @ points / np.maximum(counts, 1), centroids).astype(np.float32)


def _squared_distance(points: FloatMatrix, centroids: FloatMatrix) -> FloatMatrix:
    squared = (points**2).sum(axis=1)[:, None] + (centroids**2).sum(axis=1) - 2 * points @ centroids.T
    return np.asarray(np.maximum(squared, 0), dtype=np.float64)


def _spread(points: FloatMatrix, centroids: FloatMatrix) -> float:
    return float(_squared_distance(points, centroids).min(axis=1).sum())


def make(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    return ClusterRouter(context, parse_options("router 'cluster'", ClusterOptions, options))
