"""The ranker: which of several answers to an open question is graded best, by the signs of their texts.

A ridge regression (Hoerl and Kennard 1970) of the grade on ten signs of the text and the expert's mean grade,
both less their mean over the experts of the question, so that only what differs between answers to one
question counts. No embedding: what a text is about is the same for all of them. Constants: docs/open.md.

Shapes: E experts, N questions, F = 11 features.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aggregators.outputs.prose.signs import Signs

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RIDGE = 100.0
"""Answers that the penalty is worth; features have unit variance."""

BRIEF_SHARE = 0.2
"""Share of an expert's own answers that count as brief."""

_MOST_BRIEF = 2
"""Times that share, beyond which answers of one length are not brief: what many of them have is usual."""

LENGTH = Signs._fields.index("length")
_LEAST_SPREAD = 0.1
"""Of log lengths: an expert that always writes as much has no unusual length."""


class Sheet(NamedTuple):
    """Graded answers of a few experts to the same questions.

    Attributes:
        expert_ids: E.
        grades: [E, N] in [0, 1]; no gaps.
        signs: [E, N, 9], as in `Signs`; zeros of an empty answer.
    """

    expert_ids: tuple[str, ...]
    grades: Floats
    signs: Floats

    @property
    def n(self) -> int:
        """N, the number of questions."""
        return int(self.grades.shape[1])

    def of(self, columns: Ints) -> "Sheet":
        """The sheet of some questions, in the order of `columns`, int [M]."""
        return Sheet(self.expert_ids, self.grades[:, columns], self.signs[:, columns])


class Usual(NamedTuple):
    """Habits of one expert on the profile's open questions.

    Attributes:
        grade: mean, in [0, 1].
        length, spread: mean and standard deviation of ln(1 + characters).
        brief: length that its shortest fifth do not exceed, ln(1 + characters); -inf = none is brief.
    """

    grade: float
    length: float
    spread: float
    brief: float


def usual_of(grades: npt.ArrayLike, lengths: npt.ArrayLike, *, brief_share: float = BRIEF_SHARE) -> Usual:
    """Habits of one expert, from its graded answers.

    Args:
        grades, lengths: [N] of one expert, in the same order, N >= 1; lengths as ln(1 + characters).
        brief_share: of its answers that are brief, in (0, 0.5].
    """
    logs = np.asarray(lengths, dtype=np.float64)
    return Usual(
        grade=float(np.asarray(grades, dtype=np.float64).mean()),
        length=float(logs.mean()),
        spread=max(float(logs.std()), _LEAST_SPREAD),
        brief=brief_length(logs, brief_share),
    )


def brief_length(lengths: npt.ArrayLike, share: float = BRIEF_SHARE) -> float:
    """Length that the shortest fifth do not exceed; where many more are as short as that, the next shorter
    length; -inf = there is none. `[1, 2, 3, 4, 5]` -> 1; `[1, 3, 3, 3, 3, 3, 3]` -> 1; `[3, 3]` -> -inf.

    Args:
        lengths: [N], N >= 1.
        share: in (0, 0.5], in place of the fifth.
    """
    ordered = np.sort(np.asarray(lengths, dtype=np.float64))
    n = len(ordered)
    fifth = ordered[math.ceil(share * n) - 1]
    if np.searchsorted(ordered, fifth, side="right") <= _MOST_BRIEF * share * n:
        return float(fifth)
    shorter = ordered[ordered < fifth]
    return float(shorter[-1]) if len(shorter) else -math.inf


class Ranker(NamedTuple):
    """A fitted ranker. `weights`: grade for a unit of each feature, [F]."""

    weights: Floats

    def scores(self, signs: npt.ArrayLike, usual: Sequence[Usual]) -> Floats:
        """Expected grade of each answer to one question, up to a constant; [C].

        Args:
            signs: [C, 9], as in `Signs`.
            usual: of each answer's expert, C.
        """
        rows = np.asarray(signs, dtype=np.float64)[:, None, :]
        return np.asarray((features(rows, usual) @ self.weights)[:, 0])


def features(signs: Floats, usual: Sequence[Usual]) -> Floats:
    """[E, N, F]: the nine signs, the length among those of the same expert, and the expert's mean grade.

    Args:
        signs: [E, N, 9], as in `Signs`; not modified.
        usual: of each expert, E.
    """
    length, spread, grade = np.array([(one.length, one.spread, one.grade) for one in usual]).T
    relative = (signs[..., LENGTH] - length[:, None]) / spread[:, None]
    grades = np.broadcast_to(grade[:, None], relative.shape)
    return np.concatenate([signs, relative[..., None], grades[..., None]], axis=2)


def fit_ranker(sheet: Sheet, usual: Sequence[Usual], *, ridge: float = RIDGE) -> Ranker:
    """The ranker of a sheet; of a lone expert, or where nothing differs, all weights are 0.

    Args:
        usual: of each expert, E.
        ridge: penalty, > 0, in answers.
    """
    x = features(sheet.signs, usual)
    x = (x - x.mean(axis=0)).reshape(-1, x.shape[2])
    y = (sheet.grades - sheet.grades.mean(axis=0)).reshape(-1)
    scale = x.std(axis=0)
    scale[scale < 1e-9] = np.inf  # a sign that nobody shows says nothing
    z = x / scale
    weights = np.linalg.solve(z.T @ z + ridge * np.eye(z.shape[1]), z.T @ y)
    return Ranker(weights / scale)
