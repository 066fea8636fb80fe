"""Signs of texts as terms of the vote: what a text says for its answer is a sum over its signs.

Few numbers, so that a few hundred profile questions teach them; `verifying.model` has trees, which need
thousands. Length is not among the signs: the vote has it.

Shapes: N profile questions, E experts, C signs.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aggregators.outputs.verifying.model import StatedAnswer, read_all
from aggregators.outputs.verifying.signs import Consistency, Form, Hedging, Signs
from aggregators.outputs.vote_model import SignWeights
from orchestrator.domain.cards import Transcript
from orchestrator.domain.queries import Query
from orchestrator.runtime.garbage import no_cycle_collection

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_LENGTHS = frozenset(("length", "reasoning_length"))
_COUNTS = frozenset(
    ("n_statements", "n_others_named", "n_other_letters", "n_other_numbers", "n_eliminated", "n_hedges")
) | {"n_surrenders"}
_FIELDS = (*Form._fields, *Consistency._fields, *Hedging._fields)
SIGN_NAMES = tuple(name for name in _FIELDS if name not in _LENGTHS)
N_SIGNS = len(SIGN_NAMES)

_MOST_COUNTED = 20.0


def sign_row(signs: Signs) -> tuple[float, ...]:
    """C numbers in the order of `SIGN_NAMES`, counts as log(1 + n); NaN where there is nothing to say."""
    values = zip(_FIELDS, (*signs.form, *signs.consistency, *signs.hedging), strict=True)
    return tuple(_log_count(v) if name in _COUNTS else v for name, v in values if name not in _LENGTHS)


def _log_count(n: float) -> float:
    return math.log1p(min(n, _MOST_COUNTED))


class SignReader:
    """Reads what texts add to their votes, by learnt weights."""

    def __init__(self, weights: SignWeights) -> None:
        self._weights = weights

    def __call__(self, query: Query, stated: Sequence[StatedAnswer]) -> list[float]:
        """Nats by response, in order; rounded, so that sums do not depend on it."""
        return [round(self._weights.nats(sign_row(signs)), 6) for signs in read_all(query, stated)]


@no_cycle_collection()
def profile_signs(
    expert_ids: Sequence[str], transcript: Transcript, questions: Sequence[int], readers: Ints
) -> Floats:
    """Rows of signs of the profile's responses, [N, E, C]; NaN where none was read, or its text was not kept.

    Args:
        questions: columns of the transcript, N.
        readers: experts whose responses to each question are read, [N, R].
    """
    rows = np.full((len(questions), len(expert_ids), N_SIGNS), np.nan)
    for place, (question, experts) in enumerate(zip(questions, readers.tolist(), strict=True)):
        query = transcript.queries[question]
        stated = {
            e: StatedAnswer(expert_ids[e], value, text, 0.5)
            for e in experts
            if (value := transcript.values[e][question]) is not None
            and (text := transcript.texts[e][question])
        }
        for expert, signs in zip(stated, read_all(query, [*stated.values()]), strict=True):
            rows[place, expert] = sign_row(signs)
    return rows
