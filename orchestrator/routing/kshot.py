"""Recruit by a few labelled examples of the task, and by who errs where others do not: arXiv:2408.15915."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field, JsonValue

from orchestrator.domain.answers import Decision
from orchestrator.domain.cards import FloatMatrix, Profile
from orchestrator.errors import UnknownNameError
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Router, RoutingInput
from orchestrator.routing.parts.context import RouterContext, require_experts
from orchestrator.routing.parts.decisions import accuracy_needed, clamp
from orchestrator.routing.parts.deck import Floats, Ints
from orchestrator.routing.parts.neighbours import (
    Choice,
    LocalAccuracy,
    LocalWriter,
    ProfileView,
    require_profile,
)

_CHUNK = 1024
"""Queries handled at once: bounds the memory to _CHUNK · K · E floats."""


class KshotOptions(Options):
    """
    Args:
        k: experts to recruit.
        examples: ids (or content hashes) of profile questions that show the task: they replace the rest of
            the profile for the jobs of this composition. Empty = each query's nearest ones.
        n_examples: K, how many nearest profile questions stand in for examples that were not given.
        diversity: >= 0, what a disagreement with those already recruited counts against being right.
        prior_strength: pseudo-observations that shrink the accuracy on the examples to the global one.
    """

    k: int = Field(default=3, ge=1, le=1000)
    examples: tuple[str, ...] = Field(default=(), max_length=1000)
    n_examples: int = Field(default=50, ge=1, le=1000)
    diversity: float = Field(default=0.1, ge=0, le=10)
    prior_strength: float = Field(default=5.0, gt=0)


class KshotRouter:
    """Greedy: first the expert that is best on the examples, then whoever adds most of accuracy +
    `diversity` · mean share of examples on which it and a recruit differ in being right.

    Where it differs from the paper: right and wrong answers of the profile stand for its model selection
    signals (no perplexity of reference answers), and experts are recruited, not trained on.
    """

    name = "kshot"
    reads_text = True

    def __init__(self, context: RouterContext, options: KshotOptions) -> None:
        self._options = options
        self._view = ProfileView(self.name, context)
        self._k, notes = clamp(options.k, len(context.expert_ids))
        self._writer = LocalWriter(self._view, notes=notes)
        profile = require_profile(self.name, context)
        self._given = example_rows(profile, options.examples) if options.examples else None
        self._n_examples = min(options.n_examples, len(profile.texts))
        # Counts of at most 1000 are exact in half the width.
        self._right = self._view.right.astype(np.float32)
        self._known = self._view.known.astype(np.float32)

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        require_experts(self.name, self._view.expert_ids)
        del rng  # deterministic
        if not batch:
            return []
        decisions: list[Decision] = []
        for start in range(0, len(batch), _CHUNK):
            decisions += self._recruit(batch[start : start + _CHUNK])
        return decisions

    def _recruit(self, batch: Sequence[RoutingInput]) -> list[Decision]:
        examples = self._examples(batch)
        right, known = self._right[examples], self._known[examples]
        repeats = len(batch) // len(examples)  # given examples are the same for all queries
        local = LocalAccuracy(
            np.repeat(right.sum(axis=1, dtype=np.float64), repeats, axis=0),
            np.repeat(known.sum(axis=1, dtype=np.float64), repeats, axis=0),
            prior=self._view.prior,
            prior_strength=self._options.prior_strength,
        )
        distance = np.repeat(disagreement(right, known), repeats, axis=0)
        ranked, scores = diverse_order(local.mean, distance, self._k, self._options.diversity)
        rows = zip(ranked.tolist(), scores.tolist(), strict=True)
        choices = [self._choice(*row) for row in rows]
        return self._writer.write(batch, choices, local, [self._label] * len(batch))

    def _examples(self, batch: Sequence[RoutingInput]) -> Ints:
        """Rows of the profile: [Q, K], or [1, K] when the examples were given."""
        if self._given is not None:
            return self._given[None]
        similarity = self._view.vectors(batch) @ self._view.embeddings.T
        # Further digits are noise of the batch's shape.
        similarity = np.round(similarity, 5)
        return np.argpartition(-similarity, self._n_examples - 1, axis=1)[:, : self._n_examples]

    @property
    def _label(self) -> str:
        if self._given is not None:
            return f"the {len(self._given)} labelled examples"
        return f"the {self._n_examples} nearest profile questions"

    def _choice(self, picks: list[int], scores: list[float]) -> Choice:
        if len(picks) == len(scores):
            return Choice(picks, None, scores, None)
        runner_up = max((row for row in range(len(scores)) if row not in picks), key=scores.__getitem__)
        gap = scores[picks[-1]] - scores[runner_up]
        return Choice(picks, runner_up, scores, accuracy_needed(gap, self._label))


def example_rows(profile: Profile, names: Sequence[str]) -> Ints:
    """Columns of the profile whose question has one of these ids or content hashes, without repeats.

    Raises:
        UnknownNameError: not a question of the profile.
    """
    rows = {query_hash: row for row, query_hash in enumerate(profile.query_hashes)}
    if profile.transcript is not None:
        rows |= {query.id: row for row, query in enumerate(profile.transcript.queries)}
    for name in names:
        if name not in rows:
            raise UnknownNameError("profile question", name, rows, param="examples")
    return np.array(list(dict.fromkeys(rows[name] for name in names)), dtype=np.int64)


def disagreement(right: FloatMatrix, known: FloatMatrix) -> Floats:
    """Share of examples on which two experts differ in being right, among those both were measured on;
    [Q, E, E], 0 where there is none.

    Args:
        right, known: [Q, K, E], 0 or 1.
    """
    differ = right.transpose(0, 2, 1) @ (known - right)
    both = known.transpose(0, 2, 1) @ known
    return np.asarray((differ + differ.transpose(0, 2, 1)) / np.maximum(both, 1), dtype=np.float64)


def diverse_order(accuracy: Floats, distance: Floats, k: int, diversity: float) -> tuple[Ints, Floats]:
    """The k experts chosen greedily, [Q, k], and scores, [Q, E]: of a chosen one when it was chosen, of the
    others when the last one was.

    Args:
        accuracy: [Q, E].
        distance: [Q, E, E], in [0, 1].
        k: 1 <= k <= E.
        diversity: >= 0, what a mean distance of 1 from those chosen before is worth in accuracy.
    """
    queries = np.arange(len(accuracy))
    score, total = accuracy.copy(), np.zeros_like(accuracy)
    open_ = np.ones(accuracy.shape, dtype=bool)
    order: list[Ints] = []
    for step in range(k):
        if order:
            total += distance[queries, order[-1]]
            score = np.where(open_, accuracy + diversity * np.round(total / step, 6), score)
        pick = np.where(open_, score, -np.inf).argmax(axis=1)
        open_[queries, pick] = False
        order.append(pick)
    return np.stack(order, axis=1), score


def make(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """The `RouterFactory` of `kshot`: needs a profile.

    Raises:
        UnknownNameError: an example that is no question of the profile.
    """
    return KshotRouter(context, parse_options("router 'kshot'", KshotOptions, options))
