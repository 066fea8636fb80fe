"""Leanings: options that an expert states more often than chance when it is wrong.

Models lean towards places in a list ("Large Language Models Are Not Robust Multiple Choice Selectors",
arXiv:2309.03882), each in its own way; what an expert says too often says little. Where we differ: nothing is
asked anew with options moved; the profile's wrong answers show it, as in a confusion matrix (Dawid and Skene
1979) that is the same for all right answers.

Shapes: N questions, E experts, W options of the question with most of them.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orchestrator.domain.queries import LETTERS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PSEUDO_ANSWERS = 2.0
"""Wrong answers of each option, as many as chance would have, that every expert is taken to have given."""


class Leanings:
    """Counts of what each expert states when it is wrong, and of what chance would.

    Args:
        said: option that each expert stated, [N, E]; −1 = none.
        right: option that is right, [N]; −1 = unknown.
        n_options: [N]; 0 = the question has none.
    """

    def __init__(self, said: Ints, right: Ints, n_options: Ints) -> None:
        width = max(int(n_options.max(initial=0)), 1)
        place = np.arange(width)
        wrong = (said >= 0) & (said != right[:, None]) & (right >= 0)[:, None]
        others = ((place < n_options[:, None]) & (place != right[:, None])).astype(np.float64)
        by_chance = others / np.maximum(others.sum(axis=1, keepdims=True), 1)
        self._given = np.where(wrong[:, :, None], said[:, :, None] == place, False).astype(np.float64)
        self._expected = wrong[:, :, None] * by_chance[:, None, :]

    def of(self, rows: Ints) -> Floats:
        """Leanings as some questions show them, [E, W] in nats: 0 = as often as chance, log 2 = twice.

        Args:
            rows: places of the questions, int [R].
        """
        given, expected = self._given[rows].sum(axis=0), self._expected[rows].sum(axis=0)
        return np.asarray(np.log((given + PSEUDO_ANSWERS) / (expected + PSEUDO_ANSWERS)))


def looked_up(leanings: Floats, said: Ints) -> Floats:
    """The leaning of each expert towards what it said, nats, [N, E]; 0 where it said no option.

    Args:
        leanings: [E, W].
        said: place of the option that each expert stated, int [N, E]; −1 = none.
    """
    experts = np.arange(said.shape[1])
    return np.where(said >= 0, leanings[experts, np.maximum(said, 0)], 0.0)


def by_letter(leanings: Sequence[float]) -> dict[str, float]:
    """One expert's leanings, nats, by the letter of the option: `[.1, .2]` -> A .1, B .2."""
    return dict(zip(LETTERS, leanings, strict=False))
