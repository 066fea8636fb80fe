"""Length control: what a gain on open questions is worth without the judge's liking for long answers.

Two figures, for the one is kind and the other hard:

- `controlled`: the control of AlpacaEval 2 (Dubois et al. 2024, arXiv:2404.04475), which follows how grades
  of one row go with its length from question to question;
- `at_lengths_of`: what length is worth between answers to the *same* question, which takes what is really
  missing from a brief answer for liking of length, too.

Both are logistic regressions of grades in [0, 1] (Papke and Wooldridge 1996). Shapes: E experts, N questions.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_EASE_PENALTY = 1.0
"""Ridge on the ease of each question: few experts say little about one."""

_PENALTY = 1e-3
"""Ridge on all else, so that grades that are all alike have a fit."""

_MOST_STEPS = 100
_TOLERANCE = 1e-8
_LONGEST_STEP = 2.0


class Answers(NamedTuple):
    """Answers of one row: grades in [0, 1] and characters, [N] each."""

    grades: Floats
    chars: Ints


class LengthControl:
    """Worth of length, learnt from all answers of a pool to the questions.

    Args:
        grades: [E, N] in [0, 1]; chars: [E, N].
        reference_chars: [N], of the answers that they were compared with, > 0.
    """

    def __init__(self, grades: npt.ArrayLike, chars: npt.ArrayLike, reference_chars: npt.ArrayLike) -> None:
        scores = np.asarray(grades, dtype=np.float64)
        lengths = np.asarray(chars, dtype=np.float64)
        self._reference = np.asarray(reference_chars, dtype=np.float64)
        self._unit = max(float((lengths - self._reference).std()), 1.0)
        self._ease = _crossed(scores, np.zeros_like(scores)).ease
        self._held = _crossed(scores, self._shorter(lengths))

    def controlled(self, row: Answers) -> float:
        """Mean grade of a row, had all its answers been as long as those that they were compared with.

        logit E[grade] = a + b·tanh((characters − reference) / unit) + c·ease of the question; b is left out
        of the prediction. The unit is the standard deviation of the difference over the pool's answers.
        """
        differences = np.tanh((row.chars - self._reference) / self._unit)
        columns = np.stack([np.ones_like(self._ease), differences, self._ease], axis=1)
        weights = _logistic(columns, row.grades, np.zeros_like(self._ease))
        columns[:, 1] = 0.0
        return float(_sigmoid(columns @ weights).mean())

    def at_lengths_of(self, row: Answers, other: Answers) -> float:
        """Mean grade of a row, had each of its answers been as long as the other row's.

        logit E[grade] = row + question + s·tanh(ln(characters / reference)); question and s as fitted on the
        pool with its experts held.
        """
        own, others = (self._shorter(one.chars.astype(np.float64)) for one in (row, other))
        fixed = self._held.ease + self._held.slope * own
        level = _logistic(np.ones((len(fixed), 1)), row.grades, fixed)[0]
        return float(_sigmoid(level + self._held.ease + self._held.slope * others).mean())

    def _shorter(self, chars: Floats) -> Floats:
        """tanh(ln(characters / reference)), in [-1, 1]; 0 = as long as the reference."""
        squared = (chars / self._reference) ** 2
        return np.asarray((squared - 1) / (squared + 1))


class _Crossed(NamedTuple):
    """Ease of each question, [N], and what a unit of `x` is worth, in log-odds."""

    ease: Floats
    slope: float


def _crossed(grades: Floats, x: Floats) -> _Crossed:
    """logit E[grade] = expert + question + slope·x, by Newton's method; the questions are eliminated.

    Args:
        grades, x: [E, N].
    """
    n_experts, n = grades.shape
    own = np.zeros(n_experts + 1)
    ease = np.zeros(n)
    columns = np.concatenate([np.repeat(np.eye(n_experts)[:, None], n, axis=1), x[..., None]], axis=2)
    for _ in range(_MOST_STEPS):
        p = _sigmoid(columns @ own + ease)
        w = np.maximum(p * (1 - p), 1e-6)
        slack = grades - p
        curve = w.sum(axis=0) + _EASE_PENALTY
        pull = slack.sum(axis=0) - _EASE_PENALTY * ease
        across = np.einsum("enp,en->pn", columns, w)
        hessian = np.einsum("enp,en,enr->pr", columns, w, columns) + _PENALTY * np.eye(len(own))
        gradient = np.einsum("enp,en->p", columns, slack) - _PENALTY * own
        step = np.linalg.solve(hessian - (across / curve) @ across.T, gradient - (across / curve) @ pull)
        of_ease = (pull - across.T @ step) / curve
        size = max(np.abs(step).max(), np.abs(of_ease).max())
        scale = min(1.0, _LONGEST_STEP / max(size, _TOLERANCE))
        own, ease = own + scale * step, ease + scale * of_ease
        if size < _TOLERANCE:
            break
    return _Crossed(ease, float(own[-1]))


def _logistic(columns: Floats, grades: Floats, offset: Floats) -> Floats:
    """Weights of logit E[grade] = offset + columns·weights, by Newton's method; [P].

    Args:
        columns: [N, P].
    """
    weights = np.zeros(columns.shape[1])
    for _ in range(_MOST_STEPS):
        p = _sigmoid(offset + columns @ weights)
        w = np.maximum(p * (1 - p), 1e-6)
        hessian = (columns * w[:, None]).T @ columns + _PENALTY * np.eye(len(weights))
        step = np.linalg.solve(hessian, columns.T @ (grades - p) - _PENALTY * weights)
        size = float(np.abs(step).max())
        weights = weights + min(1.0, _LONGEST_STEP / max(size, _TOLERANCE)) * step
        if size < _TOLERANCE:
            break
    return weights


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -50, 50))))
