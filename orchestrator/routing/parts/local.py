"""Local accuracy: how right each expert is on questions like a given one, learnt from the profile.

Accuracy of expert e on query q = its overall accuracy + how easy q is for the pool + what is particular to
e on q. The last two are Gaussian-process regressions over the question embeddings (Rasmussen and Williams
2006, equation 2.23) under the kernel exp((cosine − 1) / bandwidth), each with its own noise-to-signal ratio:
a large one draws it to zero, so that sparse or noisy profiles shrink to the overall accuracy. Bandwidth and
ratios are chosen inside the profile.

Shapes: E experts of the profile, N profile questions, Q queries, D embedding width.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from orchestrator.domain.cards import LEAST_ACCURACY, MOST_ACCURACY, RIGHT, UNKNOWN, FloatMatrix, Profile
from orchestrator.routing.parts.deck import UNINFORMED, Floats, Ints
from orchestrator.runtime.threads import one_thread

BANDWIDTHS = (0.05, 0.1, 0.2, 0.4, 0.8)
RATIOS = (0.3, 1.0, 3.0, 10.0, 30.0)
N_FOLDS = 5
LEAST_QUESTIONS = 25
"""With fewer there is nothing to choose by: `DEFAULT_SHAPE` is used."""

MOST_CHOOSING, MOST_QUESTIONS = 1000, 4000
"""Questions that the shape is chosen on, and that the model keeps: evenly spread over the profile. Time grows
with the cube of both."""

_DIGITS = 4
"""Embeddings are compared in float32: further digits are noise of the batch's shape."""

_CHUNK = 1024
"""Queries compared with the profile at once: bounds the memory to _CHUNK · N floats."""


class Shape(NamedTuple):
    """Bandwidth (cosine units, > 0) and noise-to-signal ratios (> 0) of ease and of what is particular."""

    bandwidth: float
    ease: float
    particular: float


DEFAULT_SHAPE = Shape(0.4, 1.0, 10.0)


class Appraisal(NamedTuple):
    """Expectation of each expert on each query.

    Attributes:
        accuracy: [Q, E] in [0.02, 0.98]; exactly 0.5 for an expert that was never measured.
        n: measured profile questions, each weighted by its similarity to the query, [Q, E].
    """

    accuracy: Floats
    n: Floats


class LocalModel:
    """A fitted model; `fit_local` makes one per profile.

    Attributes:
        expert_ids: columns of what it returns.
        shape: as chosen inside the profile.
        questions: columns of the profile that were kept, [N].
        prior: overall accuracy of each expert, [E].
        crossfitted: accuracy on the kept questions by models that did not see them, [N, E]. (Leaving one
            question out would leak: its own outcome shifts the mean of the others, and a learner finds that.)
    """

    def __init__(self, profile: Profile, *, seed: int = 0) -> None:
        self.expert_ids = profile.expert_ids
        self.questions = evenly(len(profile.texts), MOST_QUESTIONS)
        outcomes = profile.outcomes[:, self.questions].T
        self._vectors = profile.embeddings[self.questions]
        self._right, self._known = (outcomes == RIGHT).astype(float), (outcomes != UNKNOWN).astype(float)
        self._measured = self._known.any(axis=0)
        self.prior = _overall(self._right, self._known)
        self.shape = choose_shape(self._vectors, self._right, self._known, seed=seed)
        self.crossfitted = self._clipped(
            _crossfit(self._vectors, self._right, self._known, self.shape, seed=seed)
        )
        kernel = _kernel(self._vectors, self._vectors, self.shape.bandwidth)
        self._solution = _solve(kernel, self._right, self._known, self.shape)

    def appraise(self, vectors: FloatMatrix) -> Appraisal:
        """Expected accuracies on these queries, and how much of the profile is behind them.

        Args:
            vectors: float32 [Q, D], unit length.
        """
        chunks = [vectors[i : i + _CHUNK] for i in range(0, len(vectors), _CHUNK)]
        parts = [self._appraise(chunk) for chunk in chunks or [vectors]]
        return Appraisal(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _appraise(self, vectors: FloatMatrix) -> Appraisal:
        kernel = _kernel(vectors, self._vectors, self.shape.bandwidth)
        accuracy = self._clipped(self.prior + kernel @ self._solution)
        return Appraisal(accuracy, np.round(kernel @ self._known, 2))

    def _clipped(self, accuracy: Floats) -> Floats:
        kept = np.clip(np.round(accuracy, _DIGITS), LEAST_ACCURACY, MOST_ACCURACY)
        return np.where(self._measured, kept, UNINFORMED)


@lru_cache(maxsize=4)
@one_thread()
def fit_local(profile: Profile) -> LocalModel:
    """The model of a profile, fitted once per process; about 2 s for 2,000 questions and 28 experts."""
    return LocalModel(profile)


def choose_shape(vectors: FloatMatrix, right: Floats, known: Floats, *, seed: int) -> Shape:
    """The shape with the least log loss on questions that were left out, over all experts."""
    kept = evenly(len(vectors), MOST_CHOOSING)
    if len(kept) < LEAST_QUESTIONS:
        return DEFAULT_SHAPE
    losses = {
        shape: loss
        for bandwidth in BANDWIDTHS
        for shape, loss in _losses(vectors[kept], right[kept], known[kept], bandwidth, seed=seed)
    }
    return min(losses, key=lambda shape: (losses[shape], shape))


def _losses(
    vectors: FloatMatrix, right: Floats, known: Floats, bandwidth: float, *, seed: int
) -> Iterator[tuple[Shape, float]]:
    ease = {ratio: np.zeros((len(vectors), 1)) for ratio in RATIOS}
    particular = {ratio: np.zeros_like(right) for ratio in RATIOS}
    prior = np.zeros_like(right)
    kernel = _kernel(vectors, vectors, bandwidth)
    for inside, left_out in folds(len(vectors), seed=seed):
        prior[left_out] = _overall(right[inside], known[inside])
        for ratio in RATIOS:
            parts = _parts(kernel[np.ix_(inside, inside)], right[inside], known[inside], (ratio, ratio))
            across = kernel[np.ix_(left_out, inside)]
            ease[ratio][left_out], particular[ratio][left_out] = (across @ part for part in parts)
    for of_ease, of_particular in product(RATIOS, RATIOS):
        mean = np.clip(prior + ease[of_ease] + particular[of_particular], LEAST_ACCURACY, MOST_ACCURACY)
        gain = known * np.where(right > 0, np.log(mean), np.log1p(-mean))
        yield Shape(bandwidth, of_ease, of_particular), -float(gain.sum())


def _crossfit(vectors: FloatMatrix, right: Floats, known: Floats, shape: Shape, *, seed: int) -> Floats:
    mean = np.tile(_overall(right, known), (len(vectors), 1))
    kernel = _kernel(vectors, vectors, shape.bandwidth)
    for inside, left_out in folds(len(vectors), seed=seed):
        solution = _solve(kernel[np.ix_(inside, inside)], right[inside], known[inside], shape)
        across = kernel[np.ix_(left_out, inside)]
        mean[left_out] = _overall(right[inside], known[inside]) + across @ solution
    return mean


def _solve(kernel: Floats, right: Floats, known: Floats, shape: Shape) -> Floats:
    """Coefficients of the profile questions, [N, E]: what a query gains is its kernel row times these."""
    ease, particular = _parts(kernel, right, known, shape[1:])
    return ease + particular


def _parts(
    kernel: Floats, right: Floats, known: Floats, ratios: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Coefficients of ease, [N, 1], and of what is particular, [N, E]. Unknown outcomes say nothing."""
    surprise = (right - _overall(right, known)) * known
    ease = surprise.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    particular = (surprise - ease) * known
    if ratios[0] == ratios[1]:
        both = _regress(kernel, np.hstack([ease, particular]), ratios[0])
        return both[:, :1], both[:, 1:]
    return _regress(kernel, ease, ratios[0]), _regress(kernel, particular, ratios[1])


def _regress(kernel: Floats, targets: Floats, ratio: float) -> Floats:
    from scipy.linalg import cho_factor, cho_solve  # half a second of import, for those that fit

    noisy = kernel.copy()
    noisy[np.diag_indices(len(noisy))] += ratio
    factor = cho_factor(noisy, overwrite_a=True, check_finite=False)
    return np.asarray(cho_solve(factor, targets, check_finite=False))


def _overall(right: Floats, known: Floats) -> Floats:
    """Overall accuracies, [E], drawn a little towards 0.5 as in `deck.global_accuracy`."""
    return np.asarray((right.sum(axis=0) + 1) / (known.sum(axis=0) + 2))


def _kernel(a: FloatMatrix, b: FloatMatrix, bandwidth: float) -> Floats:
    kernel: Floats = (a @ b.T).astype(np.float64)
    np.minimum(kernel, 1, out=kernel)  # in place: a batch of queries makes hundreds of megabytes
    kernel -= 1
    kernel /= bandwidth
    return np.exp(kernel, out=kernel)


def folds(n: int, *, seed: int, n_folds: int = N_FOLDS) -> list[tuple[Ints, Ints]]:
    """(inside, left out) rows of a random partition of n >= 2 rows, as many folds as fill; none for n < 2."""
    fold = np.random.default_rng(seed).permutation(n) % n_folds
    parts: Sequence[int] = range(min(n, n_folds)) if n > 1 else ()
    return [(np.flatnonzero(fold != part), np.flatnonzero(fold == part)) for part in parts]


def evenly(n: int, most: int) -> Ints:
    """At most `most` of n rows, evenly spread, in order."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
