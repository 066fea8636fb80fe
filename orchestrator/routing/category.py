"""Classify the query, then ask whom its category maps to: Composition of Experts, arXiv:2412.01868."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field, JsonValue

from orchestrator.domain.answers import Decision
from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.skills import SkillTag
from orchestrator.errors import ConfigError
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Router, RoutingInput
from orchestrator.routing.cluster import k_means, nearest
from orchestrator.routing.parts.context import RouterContext, require_experts
from orchestrator.routing.parts.decisions import accuracy_needed, clamp
from orchestrator.routing.parts.deck import Bools, Floats, Ints
from orchestrator.routing.parts.neighbours import (
    Choice,
    LocalAccuracy,
    LocalWriter,
    ProfileView,
    require_profile,
)

_CANDIDATES = (2, 4, 8, 16, 32)
_FOLDS = 2
_INVERSE_PENALTY = 10.0
"""Of the regression's weights (scikit-learn's C): embeddings are short, so weights must be large."""


class CategoryOptions(Options):
    """
    Args:
        k: experts to recruit.
        n_categories: clusters of the profile's texts; None = what serves best within the profile.
        floor: probability that a query's category must have, or it is `general`.
        max_mean_params_b: billions of parameters that answer a query, mean over a stream like the profile;
            None = no limit. Needs `model_info.params_b` of every expert.
        prior_strength: pseudo-observations that shrink a category's accuracy to the global one.
    """

    k: int = Field(default=3, ge=1, le=100)
    n_categories: int | None = Field(default=None, ge=1, le=1000)
    floor: float = Field(default=0.5, ge=0, le=1)
    max_mean_params_b: float | None = Field(default=None, gt=0)
    prior_strength: float = Field(default=10.0, gt=0)


class CategoryRouter:
    """Categories are clusters of the profile's question texts, never labels; the last one is `general`.

    Where it differs from the paper: categories are induced, not annotated; k experts per category, not one.
    """

    name = "category"
    reads_text = True

    def __init__(self, context: RouterContext, options: CategoryOptions) -> None:
        self._options = options
        self._view = ProfileView(self.name, context)
        self._k, notes = clamp(options.k, len(context.expert_ids))
        n = options.n_categories or best_n_categories(self._view, options.prior_strength, seed=context.seed)
        self._classifier = Classifier(self._view.embeddings, n, floor=options.floor, seed=context.seed)
        labels, _ = self._classifier.classify(self._view.embeddings)
        self._counts = _Counts.of(self._view, labels, self._classifier.n_categories)
        self._names = category_names(
            require_profile(self.name, context).skills,
            labels,
            self._classifier.n_categories,
        )
        self._mapping, unkept = self._map(context, labels)
        self._writer = LocalWriter(self._view, notes=(*notes, *unkept))

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        require_experts(self.name, self._view.expert_ids)
        del rng  # deterministic: the categories are seeded once
        if not batch:
            return []
        categories, chance = self._classifier.classify(self._view.vectors(batch))
        local = self._local(categories)
        rows = zip(categories.tolist(), local.mean.tolist(), strict=True)
        labels = [f"{self._names[c]} (p = {p:.2f})" for c, p in zip(categories, chance, strict=True)]
        return self._writer.write(batch, [self._choice(*row) for row in rows], local, labels)

    def _local(self, categories: Ints) -> LocalAccuracy:
        return LocalAccuracy(
            self._counts.right[categories],
            self._counts.known[categories],
            prior=self._view.prior,
            prior_strength=self._options.prior_strength,
        )

    def _map(self, context: RouterContext, labels: Ints) -> tuple[list[list[int]], tuple[str, ...]]:
        """Experts of each category, best first, and a note where the budget cannot be kept."""
        accuracy = self._local(np.arange(self._classifier.n_categories + 1)).mean
        budget = self._options.max_mean_params_b
        if budget is None:
            return [_best_first(row, np.argsort(-row, kind="stable")[: self._k]) for row in accuracy], ()
        shares = np.bincount(labels, minlength=len(accuracy)) / len(labels)
        sizes = expert_sizes(context)
        chosen = map_within_budget(accuracy, shares, sizes, k=self._k, budget=budget)
        mapping = [_best_first(row, np.flatnonzero(of)) for row, of in zip(accuracy, chosen, strict=True)]
        mean = float(shares @ chosen @ sizes)
        if mean <= budget * (1 + 1e-6):
            return mapping, ()
        return mapping, (f"max_mean_params_b={budget:g} cannot be kept: {self._k} experts have {mean:g}",)

    def _choice(self, category: int, means: list[float]) -> Choice:
        picks = self._mapping[category]
        left_out = [row for row in range(len(means)) if row not in picks]
        if not left_out:
            return Choice(picks, None, means, None)
        runner_up = max(left_out, key=lambda row: means[row])
        gap = means[picks[-1]] - means[runner_up]
        if gap < 0:
            return Choice(picks, runner_up, means, "a larger max_mean_params_b")
        return Choice(picks, runner_up, means, accuracy_needed(gap, self._names[category]))


class _Counts(NamedTuple):
    """Right and measured answers per category, `general` (all questions) last: [C + 1, E]."""

    right: Floats
    known: Floats

    @classmethod
    def of(cls, view: ProfileView, labels: Ints, n_categories: int) -> "_Counts":
        members = np.eye(n_categories + 1)[labels]
        members[:, n_categories] = 1
        return cls(members.T @ view.right, members.T @ view.known)


class Classifier:
    """Multinomial logistic regression from embeddings to clusters of them.

    Args:
        points: float32 [N, D].
        n_categories: reduced to N where it is larger.
        floor: a query whose likeliest category has less is `general`.
    """

    def __init__(self, points: FloatMatrix, n_categories: int, *, floor: float, seed: int) -> None:
        labels = nearest(points, k_means(points, n_categories, seed=seed))
        present, labels = np.unique(labels, return_inverse=True)
        self.n_categories = len(present)
        self._floor = floor
        self._weights, self._bias = _regression(points, labels, self.n_categories)

    def classify(self, vectors: FloatMatrix) -> tuple[Ints, Floats]:
        """Category of each query, [Q], `n_categories` = general, and the probability of the likeliest."""
        logits = vectors.astype(np.float64) @ self._weights.T + self._bias
        chance = np.exp(logits - logits.max(axis=1, keepdims=True))
        chance /= chance.sum(axis=1, keepdims=True)
        # Further digits are noise of the batch's shape.
        top = np.round(chance.max(axis=1), 6)
        return np.where(top >= self._floor, chance.argmax(axis=1), self.n_categories), top


def _regression(points: FloatMatrix, labels: Ints, n: int) -> tuple[Floats, Floats]:
    """Weights [C, D] and bias [C] of a softmax."""
    if n == 1:
        return np.zeros((1, points.shape[1])), np.zeros(1)
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=_INVERSE_PENALTY, max_iter=500).fit(points, labels)
    weights, bias = (
        np.asarray(fitted.coef_, dtype=np.float64),
        np.asarray(fitted.intercept_, dtype=np.float64),
    )
    if n == 2:  # scikit-learn keeps the second class's log-odds only
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return weights, bias


def best_n_categories(view: ProfileView, prior_strength: float, *, seed: int) -> int:
    """The candidate under which the best expert of the nearest cluster is right most often on questions
    that were held out; the smallest among equals.

    Args:
        prior_strength: > 0, pseudo-observations, as in `CategoryOptions`.
    """
    n = len(view.embeddings)
    folds = np.random.default_rng(seed).permutation(n) % _FOLDS

    def held_out_right(n_categories: int) -> float:
        return sum(
            _right(view, folds != f, folds == f, n_categories, prior_strength, seed) for f in range(_FOLDS)
        )

    fitting = [c for c in _CANDIDATES if 2 * c <= n // _FOLDS]
    if not fitting or not view.expert_ids:
        return 1
    return max(fitting, key=lambda c: (held_out_right(c), -c))


def _right(
    view: ProfileView, fit: Bools, held: Bools, n_categories: int, strength: float, seed: int
) -> float:
    """Held-out questions that the first pick of their cluster gets right."""
    centroids = k_means(view.embeddings[fit], n_categories, seed=seed)
    members = np.eye(len(centroids))[nearest(view.embeddings[fit], centroids)]
    right, known = view.right[fit], view.known[fit]
    prior = (right.sum(axis=0) + 1) / (known.sum(axis=0) + 2)
    local = LocalAccuracy(members.T @ right, members.T @ known, prior=prior, prior_strength=strength)
    picks = local.mean.argmax(axis=1)[nearest(view.embeddings[held], centroids)]
    return float(view.right[held][np.arange(len(picks)), picks].sum())


def map_within_budget(accuracy: Floats, shares: Floats, sizes: Floats, *, k: int, budget: float) -> Bools:
    """k experts for each category: the largest expected mean accuracy whose mean active size fits.

    A small integer program, solved exactly: maximise sum_c share_c sum_e accuracy_ce·x_ce subject to
    sum_e x_ce = k and sum_c share_c sum_e size_e·x_ce <= budget. Categories that no profile question has
    follow the same rule at no weight: they get the k smallest experts' equals, at worst.

    Args:
        accuracy: [C, E].
        shares: [C], of the stream; sum to 1.
        sizes: [E], > 0, billions of parameters.

    Returns:
        bool [C, E]; the k smallest experts everywhere if nothing fits.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    n_categories, n_experts = accuracy.shape
    smallest = np.zeros(accuracy.shape, dtype=bool)
    smallest[:, np.argsort(sizes, kind="stable")[:k]] = True
    weight = np.maximum(shares, 1e-6)
    cost = np.outer(weight, sizes).ravel()
    if cost @ smallest.ravel() > budget:
        return smallest
    rows = np.kron(np.eye(n_categories), np.ones(n_experts))
    found = milp(
        -(weight[:, None] * accuracy).ravel(),
        constraints=[LinearConstraint(rows, k, k), LinearConstraint(cost[None], -np.inf, budget)],
        bounds=Bounds(0, 1),
        integrality=np.ones(accuracy.size),
    )
    return smallest if found.x is None else np.asarray(found.x.reshape(accuracy.shape) > 0.5)


def expert_sizes(context: RouterContext) -> Floats:
    """Billions of parameters, [E].

    Raises:
        ConfigError: an expert whose size is not stated.
    """
    known = {i: e.params_b for i, e in context.experts.items()}
    unstated = [expert_id for expert_id in context.expert_ids if known.get(expert_id) is None]
    if unstated:
        raise ConfigError(
            f"router 'category': max_mean_params_b needs the size of {', '.join(unstated[:5])}.",
            param="max_mean_params_b",
            remedy="State model_info.params_b in the pool file.",
        )
    return np.array([known[expert_id] for expert_id in context.expert_ids], dtype=np.float64)


def category_names(skills: Sequence[Sequence[SkillTag]], labels: Ints, n_categories: int) -> list[str]:
    """`category 2 of 8: algebra`, after the heaviest skill of most of its questions; `general` last."""
    names = []
    for category in range(n_categories):
        heaviest = Counter(
            tags[0].name for tags, c in zip(skills, labels, strict=True) if c == category and tags
        )
        top = min(heaviest, key=lambda name: (-heaviest[name], name), default=None)
        name = f"category {category + 1} of {n_categories}"
        names.append(name if top is None else f"{name}: {top}")
    return [*names, "category general"]


def _best_first(accuracy: Floats, rows: Ints) -> list[int]:
    return sorted(rows.tolist(), key=lambda row: (-accuracy[row], row))


def make(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """The `RouterFactory` of `category`: needs a profile."""
    return CategoryRouter(context, parse_options("router 'category'", CategoryOptions, options))
