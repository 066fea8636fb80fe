"""Recruit those who were right on the profile questions most like the query.

Source: the nearest-neighbour rule, Cover and Hart 1967. Ours are weights by similarity, the pull to the
overall accuracy, and how many neighbours count: docs/decisions/0004.
"""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field, JsonValue

from orchestrator.domain.answers import Decision
from orchestrator.domain.cards import FloatMatrix
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Router, RoutingInput
from orchestrator.routing.parts.context import RouterContext, require_experts
from orchestrator.routing.parts.deck import Floats
from orchestrator.routing.parts.neighbours import AccuracyDecider, LocalAccuracy, ProfileView

_CANDIDATES = (5, 10, 20, 40, 80, 160)
_MAX_PROBES = 2000

_CHUNK = 1024
"""Queries compared with the profile at once: bounds the memory to _CHUNK · N floats."""


class KnnOptions(Options):
    """
    Args:
        k: experts to recruit.
        n_neighbours: profile questions to look at; None = what serves best within the profile.
        prior_strength: pseudo-observations that shrink the local accuracy to the global one.
    """

    k: int = Field(default=3, ge=1, le=1000)
    n_neighbours: int | None = Field(default=None, ge=1)
    prior_strength: float = Field(default=2.0, gt=0)


class NearestQuestions:
    """Accuracy on the profile questions most like a query, shrunk to the global accuracy.

    A neighbour counts as much as its cosine similarity; all at the distance of the last one are in.

    Args:
        n_neighbours, prior_strength: as in `KnnOptions`.
    """

    def __init__(self, view: ProfileView, *, n_neighbours: int | None, prior_strength: float) -> None:
        self._view = view
        self._prior_strength = prior_strength
        wanted = n_neighbours or best_n_neighbours(view, prior_strength)
        self._n_neighbours = min(wanted, len(view.embeddings))
        self.name = f"the {self._n_neighbours} nearest profile questions"

    def local(self, batch: Sequence[RoutingInput]) -> LocalAccuracy:
        """Accuracies on the questions nearest to each query; `batch`: at least one."""
        vectors = self._view.vectors(batch)
        counts = [self._counts(vectors[i : i + _CHUNK]) for i in range(0, len(vectors), _CHUNK)]
        right, n = (np.concatenate(parts) for parts in zip(*counts, strict=True))
        return LocalAccuracy(right, n, prior=self._view.prior, prior_strength=self._prior_strength)

    def _counts(self, vectors: FloatMatrix) -> tuple[Floats, Floats]:
        """Right and measured answers of each expert among the neighbours, weighted by similarity; [Q, E]."""
        return _neighbourhood(vectors @ self._view.embeddings.T, self._view, self._n_neighbours)


class KnnRouter:
    """Similarity-weighted accuracy over the nearest profile questions: `NearestQuestions`."""

    name = "knn"
    reads_text = True

    def __init__(self, context: RouterContext, options: KnnOptions) -> None:
        self._view = ProfileView(self.name, context)
        self._decider = AccuracyDecider(self._view, k=options.k)
        self._nearest = NearestQuestions(
            self._view, n_neighbours=options.n_neighbours, prior_strength=options.prior_strength
        )

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        require_experts(self.name, self._view.expert_ids)
        del rng  # deterministic
        if not batch:
            return []
        return self._decider.decide(batch, self._nearest.local(batch), [self._nearest.name] * len(batch))


def best_n_neighbours(view: ProfileView, prior_strength: float) -> int:
    """The candidate under which the first pick is right most often, each question left out in turn.

    Ties go to the larger neighbourhood. At most `_MAX_PROBES` questions, evenly spread, are left out.

    Args:
        prior_strength: > 0, pseudo-observations, as in `KnnOptions`.
    """
    n = len(view.embeddings)
    if not view.expert_ids:
        return n
    probes = np.unique(np.linspace(0, n - 1, min(n, _MAX_PROBES)).astype(np.int64))
    similarity = view.embeddings[probes] @ view.embeddings.T
    similarity[np.arange(len(probes)), probes] = -1.0  # a question is no neighbour of its own

    def first_pick_accuracy(n_neighbours: int) -> float:
        right, known = _neighbourhood(similarity, view, n_neighbours)
        local = LocalAccuracy(right, known, prior=view.prior, prior_strength=prior_strength)
        picks = local.mean.argmax(axis=1)
        return float(view.right[probes, picks].mean())

    return max((c for c in _CANDIDATES if c < n), key=lambda c: (first_pick_accuracy(c), c), default=n)


def _neighbourhood(similarity: FloatMatrix, view: ProfileView, n_neighbours: int) -> tuple[Floats, Floats]:
    """(right, known) of each expert among the nearest questions, weighted by similarity; [Q, E] each."""
    last = similarity.shape[1] - n_neighbours
    threshold = np.partition(similarity, last, axis=1)[:, last, None]
    weight = np.where(similarity >= threshold, np.clip(similarity, 0, 1), 0).astype(np.float64)
    return weight @ view.right, weight @ view.known


def make(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """The `RouterFactory` of `knn`: needs a profile."""
    return KnnRouter(context, parse_options("router 'knn'", KnnOptions, options))
