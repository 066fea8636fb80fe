"""Recruit those who are best on the query's cluster of profile questions: Avengers, arXiv:2505.19797."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field, JsonValue

from orchestrator.domain.answers import Decision
from orchestrator.domain.cards import FloatMatrix
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Router, RoutingInput
from orchestrator.routing.parts.context import RouterContext, require_experts
from orchestrator.routing.parts.deck import Floats, Ints
from orchestrator.routing.parts.neighbours import AccuracyDecider, LocalAccuracy, ProfileView

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


class Clusters:
    """K-means over the profile's embeddings, and what each expert did in each cluster.

    Attributes:
        centroids: float32 [C, D].
        labels: cluster of each profile question, [N].
        right, known: right and measured answers of each expert, [C, E].
    """

    def __init__(self, view: ProfileView, n_clusters: int, *, seed: int) -> None:
        self._prior = view.prior
        self.centroids = k_means(view.embeddings, n_clusters, seed=seed)
        self.labels = nearest(view.embeddings, self.centroids)
        members = np.eye(len(self.centroids))[self.labels]
        self.right: Floats = members.T @ view.right
        self.known: Floats = members.T @ view.known

    def of(self, vectors: FloatMatrix) -> Ints:
        """Cluster of each query, [Q]."""
        return nearest(vectors, self.centroids)

    def local(self, clusters: Ints, *, prior_strength: float) -> LocalAccuracy:
        """Accuracies in the given clusters, [len(clusters), E]; `prior_strength` as in `ClusterOptions`."""
        return LocalAccuracy(
            self.right[clusters], self.known[clusters], prior=self._prior, prior_strength=prior_strength
        )

    def names(self, clusters: Ints) -> list[str]:
        """Name of each of these clusters, as the reasons of a decision give it."""
        return [f"profile cluster {c + 1} of {len(self.centroids)}" for c in clusters]


class ClusterRouter:
    """Differences from the paper: accuracies are shrunk, and one clustering is used, not several."""

    name = "cluster"
    reads_text = True

    def __init__(self, context: RouterContext, options: ClusterOptions) -> None:
        self._prior_strength = options.prior_strength
        self._view = ProfileView(self.name, context)
        self._decider = AccuracyDecider(self._view, k=options.k)
        self._clusters = Clusters(self._view, options.n_clusters, seed=context.seed)

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        require_experts(self.name, self._view.expert_ids)
        del rng  # deterministic: the clusters are seeded once
        if not batch:
            return []
        clusters = self._clusters.of(self._view.vectors(batch))
        local = self._clusters.local(clusters, prior_strength=self._prior_strength)
        return self._decider.decide(batch, local, self._clusters.names(clusters))


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
    """The `RouterFactory` of `cluster`: needs a profile."""
    return ClusterRouter(context, parse_options("router 'cluster'", ClusterOptions, options))
