"""Replay sets: questions, and what each expert of a pool answered to them, in any form of answer.

Shapes: E experts in the order of `experts.json`, Q questions in the order of `questions.jsonl`, S further
samples, D embedding width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.queries import Query
from orchestrator.domain.values import Value
from orchestrator.errors import InputError, UnknownNameError

QUESTIONS, EXPERTS, RESPONSES = "questions.jsonl", "experts.json", "responses.npz"
SPLITS, EMBEDDINGS, TEXTS = "splits.json", "embeddings.npy", "texts_*.jsonl"
VALUES, SCORES = "values.jsonl", "scores.npy"
PACKED = ".xz"
"""Ending of a file of JSON lines that is compressed."""
CHARS, REFERENCE_CHARS = "chars.npy", "reference_chars.npy"
TEST = "test"
ALL = "all"
"""Name of the pool of all experts, unless the set says who is in it."""

ABSTAINED = -1
"""`pred` of a response in which no answer was found."""

FORMAT_REMEDY = "docs/replay.md describes the format."

Int16Array = npt.NDArray[np.int16]
Int32Array = npt.NDArray[np.int32]
IntArray = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

RightValues = frozenset[int]
"""Which of a question's values are right: one as a rule, several where equals cannot be told (programs)."""


class RecordedExpert(Value):
    """One entry of `experts.json`. `cost_per_mtok`: USD per million tokens; `pools`: those it belongs to."""

    id: str = Field(min_length=1, max_length=256)
    params_b: float | None = Field(default=None, gt=0)
    cost_per_mtok: float = Field(default=0.0, ge=0)
    pools: tuple[str, ...] = ()


class Split(NamedTuple):
    """Columns of the profile questions and of the test questions; disjoint."""

    profile: IntArray
    test: IntArray


@dataclass(frozen=True)
class ReplaySet:
    """A recorded pool.

    Attributes:
        experts: E; queries: Q, each with its reference answer, unless it is open.
        pred: int16 [E, Q], index into the question's `values`; -1 = no answer found, or not measured.
        values: Q, canonical answers of each question, different ones meaning different things (choice: its
            letters); None = not recorded, to be read off the texts, and of an open question.
        right: Q, which of the values are right.
        measured: bool [E, Q], False where it is not known what the expert would have said.
        samples: int16 [S, E, Q], further answers of the same experts; S = 0 where only one was recorded.
        chars: int32 [E, Q], length of the recorded output.
        texts: expert row -> its Q texts, None where a question's is missing; experts without are absent.
        scores: float32 [E, Q] in [0, 1], of open questions; nan = not scored; None = nothing was scored.
        reference_chars: int32 [Q], length of the text that open answers were compared with, if recorded.
        embeddings: float32 [Q, D], unit rows; None = not recorded.
        splits: name of a seed -> name of a set -> columns; empty = not recorded.
        mended: how many questions had options that a query cannot hold (`docs/replay.md`).
    """

    experts: tuple[RecordedExpert, ...]
    queries: tuple[Query, ...]
    pred: Int16Array
    values: tuple[tuple[str, ...] | None, ...]
    right: tuple[RightValues, ...]
    measured: Bools
    samples: Int16Array
    chars: Int32Array
    texts: Mapping[int, Sequence[str | None]]
    scores: FloatMatrix | None
    reference_chars: Int32Array | None
    embeddings: FloatMatrix | None
    splits: Mapping[str, Mapping[str, IntArray]]
    mended: int = 0

    @cached_property
    def graded(self) -> Bools:
        """bool [Q], True where responses are worth a score."""
        return np.array([query.answer_type.is_graded for query in self.queries])

    @property
    def unread(self) -> list[int]:
        """Columns whose answers are still to be read off the texts."""
        return [c for c, values in enumerate(self.values) if values is None and not self.graded[c]]

    @property
    def pools(self) -> tuple[str, ...]:
        """Names of the pools, in the order in which experts name them."""
        return tuple(dict.fromkeys(pool for expert in self.experts for pool in expert.pools))

    @property
    def largest_pool(self) -> str:
        """The pool with the most experts, the first of equals; `all` where no pools are named."""
        return max(self.pools, key=lambda pool: len(self.rows(pool)), default=ALL)

    def rows(self, pool: str) -> list[int]:
        """Experts of a pool.

        Raises:
            UnknownNameError: no expert is in such a pool.
        """
        rows = [i for i, expert in enumerate(self.experts) if pool in expert.pools]
        if not rows and pool == ALL:
            return list(range(len(self.experts)))
        if not rows:
            raise UnknownNameError("pool", pool, {*self.pools, ALL}, param="pool")
        return rows

    def with_embeddings(self, embeddings: FloatMatrix) -> "ReplaySet":
        """The set with these unit rows in place of its own.

        Args:
            embeddings: float32 [Q, D].
        """
        return replace(self, embeddings=embeddings)


def missing(path: Path, error: OSError) -> InputError:
    """The error of a file of a replay set that cannot be read."""
    return InputError(f"cannot read {path}: {error.strerror or error}.", remedy=FORMAT_REMEDY)
