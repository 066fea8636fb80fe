"""The type of a question that says none, by the profile questions nearest to it.

Exact where these agree, the question is near enough to be of their kind, and nearer to them than to prose;
else open, so that nobody votes on essays. Figures: docs/decisions/0048.

Shapes: Q queries, N profile questions, P requests without an exact answer, D embedding width.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from orchestrator.domain.answers import Decision
from orchestrator.domain.cards import FloatMatrix, Profile
from orchestrator.domain.lettered import lettered
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.ports.skills import Embedder
from orchestrator.questions.prose import PROSE

NEAREST = 5
"""Profile questions that are looked at; of fewer nothing is inferred."""
AGREE = 4
"""Of these, that must have the same type."""
FLOOR = 0.32
"""Mean similarity (cosine) of the nearest ones from which a question is one of their kind."""
MARGIN = 0.08
"""By which that must exceed the mean similarity of the nearest prose."""

KIN = (AnswerType.LATEX, AnswerType.NUMBER)
"""Types that agree with one another: a number is a mathematical result. The first is the wider one."""

NO_PROFILE = "no answer type was given, and there is no profile to infer one from: open"
FEW = "no answer type was given, and the profile has too few such questions to infer one from: open"
UNLIKE = "no answer type was given, and the profile questions nearest to it agree on none: open"


class Inference(NamedTuple):
    """A type that was inferred, and why; `note` None = there is nothing to say."""

    answer_type: AnswerType
    note: str | None = None

    def on(self, decision: Decision) -> Decision:
        """The decision with the type, and the reason among its notes."""
        notes = decision.notes if self.note is None else (*decision.notes, self.note)
        return decision.model_copy(update={"answer_type": self.answer_type, "notes": notes})


UNPROFILED = Inference(AnswerType.OPEN, NO_PROFILE)


class NearestTypes:
    """Types of profile questions, by their vectors.

    Args:
        vectors: float32 [N, D], unit rows.
        types: theirs, N.
        prose: float32 [P, D], unit rows: of requests without an exact answer; the profile's open questions
            are such, too.
    """

    def __init__(self, vectors: FloatMatrix, types: Sequence[AnswerType], prose: FloatMatrix) -> None:
        self._vectors = vectors
        self._types = tuple(types)
        is_open = np.array([answer_type.is_graded for answer_type in self._types], dtype=bool)
        self._prose = np.vstack([prose, vectors[is_open]]) if is_open.any() else prose

    def infer(self, vectors: FloatMatrix) -> list[Inference]:
        """Inferences, one for each row of float32 [Q, D], unit rows."""
        if len(self._types) < NEAREST or vectors.shape[1:] != self._vectors.shape[1:]:
            return [Inference(AnswerType.OPEN, FEW)] * len(vectors)
        near = vectors @ self._vectors.T
        rows = np.argpartition(-near, NEAREST - 1, axis=1)[:, :NEAREST]
        likeness = np.take_along_axis(near, rows, axis=1).mean(axis=1)
        prose = mean_of_largest(vectors @ self._prose.T, NEAREST)
        return [
            inferred([self._types[i] for i in of_query], float(like), float(other))
            for of_query, like, other in zip(rows.tolist(), likeness, prose, strict=True)
        ]


def inferred(types: Sequence[AnswerType], likeness: float, prose: float) -> Inference:
    """The type of a question.

    Args:
        types: of the profile questions nearest to it.
        likeness: mean similarity of these, in [-1, 1].
        prose: mean similarity of the nearest prose, in [-1, 1].
    """
    leader, n = agreed(types)
    is_near = likeness >= FLOOR and likeness - prose >= MARGIN
    has_options = leader is AnswerType.CHOICE  # which are evidence enough that it is no prose
    if leader.is_graded or n < AGREE or not (is_near or has_options):
        return Inference(AnswerType.OPEN, UNLIKE)
    near = f"{n} of the {len(types)} profile questions nearest to it agree"
    how = f"similarity {likeness:.2f}, to prose {prose:.2f}"
    return Inference(leader, f"answer type {leader.value} inferred: {near} ({how})")


def agreed(types: Sequence[AnswerType]) -> tuple[AnswerType, int]:
    """The commonest type, and how many agree with it; of kin the wider one in doubt."""
    counts = Counter(types)
    kin = sum(counts[answer_type] for answer_type in KIN)
    leader = max(counts, key=lambda answer_type: (counts[answer_type], answer_type in KIN[:1]))
    if kin < max(counts[leader], AGREE):
        return leader, counts[leader]
    return max(KIN, key=lambda answer_type: counts[answer_type]), kin


def mean_of_largest(table: FloatMatrix, n: int) -> FloatMatrix:
    """Means of the n largest of each row, or of all where there are fewer; [Q, P] to [Q]."""
    n = min(n, table.shape[1])
    return np.asarray(np.partition(table, -n, axis=1)[:, -n:].mean(axis=1), dtype=np.float32)


class TypesOfProfile(NamedTuple):
    """Types of a profile's questions.

    Attributes:
        plain: those without choices: a question alone has no options.
        lettered: all of them, for questions whose text ends in lettered options.
    """

    plain: NearestTypes
    lettered: NearestTypes

    def infer(self, queries: Sequence[Query], vectors: FloatMatrix) -> list[Inference]:
        """Inferences, one for each query; its vector is its row of float32 [Q, D], unit rows."""
        found = self.plain.infer(vectors)
        with_options = [i for i, query in enumerate(queries) if lettered(query.question) is not None]
        if with_options:
            of_these = self.lettered.infer(vectors[with_options])
            for i, inference in zip(with_options, of_these, strict=True):
                found[i] = inference
        return found


def nearest_types(profile: Profile, embedder: Embedder) -> TypesOfProfile | None:
    """Types of a profile's questions; None = what these are is not known."""
    if profile.transcript is None:
        return None
    types = [query.answer_type for query in profile.transcript.queries]
    prose = embedder.encode(PROSE)
    return TypesOfProfile(
        _of(profile, types, [i for i, each in enumerate(types) if each is not AnswerType.CHOICE], prose),
        _of(profile, types, list(range(len(types))), prose),
    )


def _of(
    profile: Profile, types: Sequence[AnswerType], kept: Sequence[int], prose: FloatMatrix
) -> NearestTypes:
    return NearestTypes(profile.embeddings[kept], [types[i] for i in kept], prose)
