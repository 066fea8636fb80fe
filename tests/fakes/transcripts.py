"""Profiles with what was said, from a rule per expert."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from orchestrator.domain.cards import ABSTAINED, RIGHT, WRONG, Profile, Transcript
from orchestrator.domain.queries import AnswerType, Query

OPTIONS = ("red", "green", "blue", "grey")
Says = Callable[[int], str | None]
"""Number of a question (the right answer is A) to the letter that the expert states; None = abstains."""

Point = Sequence[float]
EAST: Point = (1.0, 0.0)


def spoken_profile(
    experts: Mapping[str, Says],
    n: int,
    *,
    point: Callable[[int], Point] = lambda i: EAST,
    is_open: bool = False,
    chars: Callable[[str, int], int] = lambda expert_id, i: 100,
) -> Profile:
    """n questions whose right answer is A; open ones are read as text."""
    values = tuple(tuple(says(i) for i in range(n)) for says in experts.values())
    queries = tuple(_query(i, is_open=is_open) for i in range(n))
    graded = [[ABSTAINED if v is None else RIGHT if v == "A" else WRONG for v in row] for row in values]
    lengths = [[chars(expert_id, i) for i in range(n)] for expert_id in experts]
    return Profile(
        expert_ids=tuple(experts),
        query_hashes=tuple(q.content_hash for q in queries),
        texts=tuple(q.text for q in queries),
        skills=((),) * n,
        domains=("",) * n,
        outcomes=np.array(graded, dtype=np.int8),
        embeddings=np.array([point(i) for i in range(n)], dtype=np.float32),
        transcript=Transcript(queries, values, np.array(lengths, dtype=np.int32)),
    )


def with_texts(profile: Profile, text: Callable[[str, int, str | None], str]) -> Profile:
    """The profile with the words of every response, from expert id, number of the question and value."""
    said = profile.transcript
    assert said is not None
    texts = tuple(
        tuple(text(expert_id, i, value) for i, value in enumerate(values))
        for expert_id, values in zip(profile.expert_ids, said.values, strict=True)
    )
    return replace(profile, transcript=replace(said, texts=texts))


def _query(i: int, *, is_open: bool) -> Query:
    if is_open:
        return Query(id=str(i), question=f"Question {i}?", answer="A", answer_type=AnswerType.TEXT)
    return Query(
        id=str(i), question=f"Question {i}?", options=OPTIONS, answer=0, answer_type=AnswerType.CHOICE
    )
